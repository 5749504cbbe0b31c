"""The form of Markdown files."""

import re
from pathlib import PurePosixPath

COLUMNS = 100
README_LINES = 90

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```[^\n]*\n.*?^```", re.MULTILINE | re.DOTALL)


def wide_lines(path: str, source: str) -> list[str]:
    """Lines over the limit. Rows of tables may be longer, and the targets of links do not count."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        columns = len(line) - sum(map(len, _LINK.findall(line)))
        if columns > COLUMNS and not line.startswith("|"):
            found.append(f"{path}:{number}: {columns} columns, over {COLUMNS}")
    return found


def too_long(path: str, source: str) -> list[str]:
    """The README is for somebody who has five minutes."""
    lines = source.count("\n")
    if path != "README.md" or lines <= README_LINES:
        return []
    return [f"{path}: {lines} lines, over {README_LINES}"]


def dead_links(path: str, source: str, files: set[str]) -> list[str]:
    """Links to files of the project that are not there."""
    found = []
    for target in _LINK.findall(_FENCE.sub("", source)):
        name = target.partition("#")[0]
        if not name or re.match(r"[a-z]+:", name):
            continue
        place = _normal(PurePosixPath(path).parent / name)
        if place not in files and not any(file.startswith(place + "/") for file in files):
            found.append(f"{path}: links to {target}, which is not there")
    return found


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
