"""A small reader of C++: enough structure for the rules, no more.

It knows comments, literals, preprocessor lines and matching brackets, and tells function bodies,
types, namespaces and initialisers apart by the text before their opening brace.
"""

import re
from dataclasses import dataclass

_TOKENS = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<raw>\bu?8?R"(?P<tag>[^()\s\\]*)\(.*?\)(?P=tag)")
      | (?P<literal>"(?:\\.|[^"\\\n])*"
        | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|\bu8?'(?:\\.|[^'\\\n])+')
    """,
    re.DOTALL | re.VERBOSE,
)
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_NOT_A_NAME = re.compile(
    r"(?:alignas|decltype|explicit|noexcept|requires|__attribute__|__launch_bounds__|throw)\s*$"
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _blank_inside(match: re.Match[str]) -> str:
    if match["comment"]:
        return _blank(match)
    found = match.group()
    return '"' + re.sub(r"[^\n]", " ", found[1:-1]) + '"'


def without_comments(source: str) -> str:
    """The source with comments blanked; lines keep their numbers."""
    return _TOKENS.sub(lambda match: _blank(match) if match["comment"] else match.group(), source)


def code(source: str) -> str:
    """The source with comments, literals and preprocessor lines blanked, line by line."""
    return _PREPROCESSOR.sub(_blank, _TOKENS.sub(_blank_inside, source))


def matching(text: str, start: int) -> int:
    """The index of the bracket that closes the one at `start`, or of the last character."""
    opening, closing, depth = text[start], _CLOSING[text[start]], 0
    for index in range(start, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return len(text) - 1


def split_arguments(arguments: str) -> list[str]:
    """Splits at the commas that no bracket, angle brackets included, encloses."""
    parts, depth, current = [], 0, ""
    for char in arguments.replace("->", "  ").replace("<=", "  ").replace(">=", "  "):
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            depth -= 1
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    parts.append(current)
    return [part.strip() for part in parts if part.strip() not in ("", "void")]


def _without_angles(text: str, start: int) -> str:
    """Blanks the angle brackets that open at `start`, with what they enclose."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"<": 1, ">": -1}.get(text[index], 0)
        if depth == 0:
            return text[:start] + " " * (index + 1 - start) + text[index + 1 :]
    return text


def _plain_head(head: str) -> str:
    """A declaration without template parameters, attributes and access labels, same length."""
    head = re.sub(r"\[\[.*?\]\]", _blank, head, flags=re.DOTALL)
    head = re.sub(r"\b(?:public|private|protected)\s*:(?!:)", _blank, head)
    while found := re.search(r"\btemplate\s*(?=<)", head):
        head = _without_angles(_blank_range(head, found.start(), found.end()), found.end())
    return head


def _blank_range(text: str, begin: int, end: int) -> str:
    return text[:begin] + re.sub(r"[^\n]", " ", text[begin:end]) + text[end:]


@dataclass(frozen=True)
class Function:
    """A function definition: `line` is that of its first word, `lines` counts down to its brace."""

    name: str
    line: int
    lines: int
    parameters: tuple[str, ...]
    body: str


@dataclass(frozen=True)
class Statement:
    """A declaration that is not a function definition; `scope` is "namespace" or "type"."""

    text: str
    line: int
    scope: str


@dataclass(frozen=True)
class _Head:
    name: str
    parameters: str
    rest: str


def _parse_head(head: str) -> _Head | None:
    """Name, parameter list and what follows it, or None when no function is declared here."""
    plain = _plain_head(head)
    operator = re.search(r"\boperator\s*(?:\(\s*\)|[^\s\w(]+|[\w:&*<> ]+?)\s*(?=\()", plain)
    index = operator.end() if operator else 0
    while (index := plain.find("(", index)) >= 0:
        before = plain[:index].rstrip()
        end = matching(plain, index)
        if not operator and "=" in re.sub(r"\([^()]*\)", "", before):
            return None
        if operator or (re.search(r"[\w>]$", before) and not _NOT_A_NAME.search(before)):
            name = operator.group().strip() if operator else re.search(r"[~\w:<>]+$", before)[0]
            return _Head(name, plain[index + 1 : end], plain[end + 1 :])
        index = end + 1
    return None


def _opens_member(head: str) -> bool:
    """Whether a brace after `head` starts a member's value in a constructor's initialiser list."""
    parsed = _parse_head(head)
    if parsed is None or not re.search(r"(?<!:):(?!:)", parsed.rest):
        return False
    return bool(re.search(r"[\w>]\s*$", parsed.rest))


def _kind(head: str) -> str:
    plain = re.sub(r"\b(?:alignas|[A-Z][A-Z0-9_]+)\s*\([^()]*\)", _blank, _plain_head(head))
    if re.search(r"\bnamespace\b|\bextern\s*\"", plain):
        return "namespace"
    if (
        re.search(r"\b(?:class|struct|union|enum)\b", plain)
        and "(" not in plain
        and ("=" not in plain)
    ):
        return "type"
    if _opens_member(head):
        return "value"
    return "function" if _parse_head(head) else "value"


class _Reader:
    """Walks declarations; steps into namespaces and types and over everything else in brackets."""

    def __init__(self, source: str) -> None:
        self.text = code(source)
        self.functions: list[Function] = []
        self.statements: list[Statement] = []
        self._scopes = ["namespace"]
        self._start = 0

    def read(self) -> None:
        index = 0
        while index < len(self.text):
            index = self._step(index) + 1

    def _step(self, index: int) -> int:
        char = self.text[index]
        if char in "([":
            return matching(self.text, index)
        if char == "{":
            return self._open(index)
        if char == ";":
            self._end_statement(index)
        elif char == "}":
            if len(self._scopes) > 1:
                self._scopes.pop()
            self._start = index + 1
        return index

    def _open(self, index: int) -> int:
        head = self.text[self._start : index]
        kind = _kind(head)
        if kind in ("namespace", "type"):
            self._scopes.append(kind)
            self._start = index + 1
            return index
        end = matching(self.text, index)
        if kind == "function":
            self._add_function(head, index, end)
            self._start = end + 1
        return end

    def _add_function(self, head: str, index: int, end: int) -> None:
        parsed = _parse_head(head)
        plain = _plain_head(head)
        line = self.text.count("\n", 0, index - len(plain.lstrip())) + 1
        lines = self.text.count("\n", 0, end) + 2 - line
        parameters = tuple(split_arguments(parsed.parameters))
        body = self.text[index : end + 1]
        self.functions.append(Function(parsed.name, line, lines, parameters, body))

    def _end_statement(self, index: int) -> None:
        plain = _plain_head(self.text[self._start : index])
        line = self.text.count("\n", 0, index - len(plain.lstrip())) + 1
        if plain.strip():
            self.statements.append(Statement(" ".join(plain.split()), line, self._scopes[-1]))
        self._start = index + 1


def functions(source: str) -> list[Function]:
    """The function definitions of a file, members and operators included, lambdas not."""
    reader = _Reader(source)
    reader.read()
    return reader.functions


def statements(source: str) -> list[Statement]:
    """The declarations at namespace and type scope that end in a semicolon."""
    reader = _Reader(source)
    reader.read()
    return reader.statements


def includes(source: str) -> list[tuple[int, str]]:
    """(line, name) of each include; the name keeps its quotes or angle brackets."""
    pattern = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"][^>\"]+[>\"])", re.MULTILINE)
    text = without_comments(source)
    return [(text.count("\n", 0, m.start(1)) + 1, m[1]) for m in pattern.finditer(text)]
