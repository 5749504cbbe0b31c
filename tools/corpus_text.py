"""Turn manuals in several mark-ups into lists of plain-English paragraphs."""

import ast
import gzip
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

SKIPPED_TAGS = {"pre", "script", "style", "nav", "table", "header", "footer", "title", "form"}
BLOCK_TAGS = {"p", "li", "dd", "dt", "div", "h1", "h2", "h3", "h4", "h5", "td", "ul", "ol", "br"}
STOP_WORDS = frozenset(
    "the a an of to in is and that it for be are with this as by on or not if can you from "
    "which will at when have has your we its use one any all was may but".split()
)
PUNCTUATION = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "¶": ""}
)


class HtmlBlocks(HTMLParser):
    """Collect the text of block elements, leaving out code listings and navigation."""

    def __init__(self) -> None:
        """Start with no text."""
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.text: list[str] = []
        self.skip_depth = 0

    def finish_block(self) -> None:
        """Close the paragraph that is being collected."""
        self.blocks.append("".join(self.text))
        self.text = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a new paragraph at a block element; count skipped elements."""
        if tag in BLOCK_TAGS:
            self.finish_block()
        if tag in SKIPPED_TAGS:
            self.skip_depth += 1

    def handle_endtag(self, tag: str) -> None:
        """End the paragraph of a block element; leave a skipped element."""
        if tag in SKIPPED_TAGS and self.skip_depth:
            self.skip_depth -= 1
            self.finish_block()
        if tag in BLOCK_TAGS:
            self.finish_block()

    def handle_data(self, data: str) -> None:
        """Keep running text."""
        if not self.skip_depth:
            self.text.append(data)


def from_html(text: str) -> list[str]:
    """Paragraphs of an HTML page."""
    parser = HtmlBlocks()
    parser.feed(text)
    parser.finish_block()
    return parser.blocks


def from_text(text: str) -> list[str]:
    """Paragraphs of plain or Info text: groups of lines between blank lines."""
    text = re.sub(r"[-=*_~]{4,}", "\n\n", text.replace("\x1f", "\n\n"))
    return re.split(r"\n\s*\n", text)


def from_pod(text: str) -> list[str]:
    """Paragraphs of Perl's POD, without commands, listings and formatting codes."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith(("=", " ", "\t")):
            continue
        block = re.sub(r"X<[^<>]*>|Z<>", "", block)
        block = re.sub(r"L<([^|<>]*\|)?/?([^<>]*)>", r"\2", block)
        for _ in range(3):
            block = re.sub(r"[A-Z]<+\s?([^<>]*?)\s?>+", r"\1", block)
        blocks.append(block)
    return blocks


def from_roff(text: str) -> list[str]:
    """Paragraphs of a man page; requests that set fonts keep their words."""
    lines, listing = [], False
    for line in text.splitlines():
        request = re.match(r"[.']\s*([A-Za-z]{1,2}|\\\")?\s*(.*)", line)
        if request is None:
            lines.append("" if listing else line)
            continue
        name, words = request.groups()
        listing = {"nf": True, "EX": True, "fi": False, "EE": False}.get(name, listing)
        if name in ("B", "I"):
            lines.append(words.replace('"', ""))
        elif name in ("BR", "BI", "IR", "IB", "RB", "RI"):
            lines.append(re.sub(r'\s+|"', "", words))
        else:
            lines.append("")
    plain = re.sub(r"\\f[A-Z]|\\f\(..|\\&|\\/|\\,|\\%|\\c", "", "\n".join(lines))
    plain = re.sub(r"\\\((aq|cq|oq)", "'", plain)
    plain = plain.replace("\\(lq", '"').replace("\\(rq", '"').replace("\\(em", "-")
    return re.split(r"\n\s*\n", re.sub(r"\\[-e]", "-", plain))


def from_python(text: str) -> list[str]:
    """Paragraphs of the docstrings of a Python source file."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [block for doc in found if doc for block in doc.split("\n\n")]


READERS = {
    ".html": from_html,
    ".txt": from_text,
    ".info": from_text,
    ".pod": from_pod,
    ".py": from_python,
}


def reader_for(name: str) -> Callable[[str], list[str]] | None:
    """The extractor for a file name (without .gz), or None for a file of no use."""
    suffix = Path(name).suffix
    if name.startswith("README") or ".info-" in name:
        return from_text
    if re.fullmatch(r"\.[1-8](type|posix)?", suffix):
        return from_roff
    return READERS.get(suffix)


def clean(block: str) -> str:
    """One paragraph on one line, with plain punctuation."""
    return re.sub(r"\s+", " ", block.translate(PUNCTUATION)).strip()


def is_prose(line: str) -> bool:
    """Whether a cleaned paragraph reads like English sentences."""
    if not 60 <= len(line) <= 4000 or not line.isascii() or "\\" in line or "*note" in line:
        return False
    plain = sum(char.isalpha() or char in " ,." for char in line)
    words = line.lower().split()
    common = sum(word in STOP_WORDS for word in words)
    return (
        plain >= 0.92 * len(line)
        and common >= 0.25 * len(words)
        and line[0].isupper()
        and line[-1] in ".:!?)"
    )


def read_document(path: Path) -> list[str]:
    """The prose paragraphs of one file, in order."""
    name = path.name.removesuffix(".gz")
    reader = reader_for(name)
    if reader is None:
        return []
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    blocks = reader(data.decode("utf-8", errors="replace"))
    return [line for line in map(clean, blocks) if is_prose(line)]
