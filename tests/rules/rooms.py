"""Who may import whom in python/penstock: the table of ARCHITECTURE.md, and the checks against it.

A room is a folder of the package, or a module beside them. The table lists rooms from below to
above; imports inside functions and under TYPE_CHECKING count like all others.
"""

import ast
import re

PACKAGE = "python/penstock/"

TABLE: dict[str, set[str]] = {
    "_core": set(),
    "_cmake": set(),
    "errors": set(),
    "outputs": set(),
    "sampling": {"errors"},
    "util": {"errors"},
    "machine": {"_core", "errors", "util"},
    "settings": {"errors", "util", "machine"},
    "text": {"errors", "util"},
    "planner": {"errors", "util"},
}
TABLE["engine"] = set(TABLE) - {"_cmake"}
TABLE["page"] = {"errors", "util"}
TABLE["llm"] = {"errors", "outputs", "sampling", "util", "settings", "text", "engine"}
TABLE["job"] = {"errors", "outputs", "sampling", "util", "settings", "text", "engine"}
TABLE["cli"] = set(TABLE) - {"_core", "_cmake"} | {"__init__"}
TABLE["__init__"] = {"_core", "errors", "outputs", "sampling", "llm"}
TABLE["__main__"] = {"_cmake", "cli"}


def room_of(path: str) -> str:
    """The row of the table that a file belongs to."""
    return path.removeprefix(PACKAGE).split("/")[0].removesuffix(".py")


def _targets(node: ast.AST) -> list[str]:
    """The modules of ours that a statement imports, as dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "penstock"]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return ["penstock..relative"]
        if node.module == "penstock":
            return [f"penstock.{alias.name}" for alias in node.names]
        return [node.module] if (node.module or "").startswith("penstock.") else []
    return []


def _room_of_module(name: str, rooms: dict[str, set[str]]) -> str:
    """The room that a dotted name is in; public names of the package are in ``__init__``."""
    part = name.split(".")[1] if "." in name else ""
    return part if part in rooms else "__init__"


def import_violations(path: str, source: str) -> list[str]:
    """What is wrong with the imports of one file of the package."""
    room = room_of(path)
    if room not in TABLE:
        return [f"{path}: {room} is not in the table"]
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in _targets(node):
            target = _room_of_module(name, TABLE)
            if name == "penstock..relative":
                found.append(f"{path}:{node.lineno}: imports are absolute")
            elif target != room and target not in TABLE[room]:
                found.append(f"{path}:{node.lineno}: {room} may not import {name}")
    return found


def documented_table(text: str) -> dict[str, set[str]]:
    """The table of ARCHITECTURE.md: rows "| `python/penstock/ROOM` | holds | may import |"."""
    rows = re.findall(r"^\| `python/penstock/(\w+)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    return {room: set(re.findall(r"\w+", uses)) for room, uses in rows}
