"""The process that renders chat templates: untrusted code in a sandbox inside a bounded process.

Reads one JSON line {"template", "variables"} and answers {"ok": true} or {"error"}; then for each
line {"messages", "variables"} one line {"text"} or {"error"}. It sees no files and no network of
its own accord: jinja2's immutable sandbox keeps templates from Python's objects, and limits on
address space, open files and file size bound what is left. Its parent keeps the time.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_ADDRESS_SPACE = 512 << 20
MAX_OUTPUT_CHARS = 4 << 20


class GenerationTag(Extension):
    """``{% generation %}``: marks what the assistant said; here only its body counts."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """The body, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message)[:500])


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    ensure_ascii = bool(options.get("ensure_ascii", False))
    sort_keys = bool(options.get("sort_keys", False))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """The environment chat templates are written for. The clock is left out on purpose: the same
    row must give the same text tomorrow."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationTag]
    )
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise_exception
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def _limit() -> None:
    sizes = {
        resource.RLIMIT_AS: MAX_ADDRESS_SPACE,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 8,
    }
    for kind, size in sizes.items():
        hard = resource.getrlimit(kind)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(kind, (size, size))


def _message(error: BaseException) -> str:
    reason = str(error).splitlines()[0][:300] if str(error) else ""
    if isinstance(error, TemplateError) and reason:
        return reason
    if isinstance(error, MemoryError):
        return "it needs more memory than a template may use"
    if isinstance(error, RecursionError):
        return "it nests without end"
    return f"{type(error).__name__}: {reason}"


class _Renderer:
    def __init__(self) -> None:
        self._template: Any = None
        self._variables: dict[str, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request's answer."""
        if "template" in request:
            self._template = environment().from_string(request["template"])
            self._variables = request["variables"]
            return {"ok": True}
        parts: list[str] = []
        size = 0
        variables = {**self._variables, **request["variables"], "messages": request["messages"]}
        for part in self._template.generate(**variables):
            size += len(part)
            if size > MAX_OUTPUT_CHARS:
                return {"error": f"its output is over {MAX_OUTPUT_CHARS} characters"}
            parts.append(part)
        return {"text": "".join(parts)}


def main() -> int:
    """Answers requests from standard input until it ends."""
    _limit()
    renderer = _Renderer()
    for line in sys.stdin:
        try:
            answer = renderer.answer(json.loads(line))
        except Exception as error:  # whatever a template does is the template's error
            answer = {"error": _message(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
