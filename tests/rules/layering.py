"""Who may include whom: the table of ARCHITECTURE.md, and the checks against it."""

import re

from rules import cxx

TABLE: dict[str, set[str]] = {
    "base": set(),
    "tensor": {"base"},
    "model": {"base", "tensor"},
    "plan": {"base", "tensor", "model"},
    "schedule": {"base", "tensor", "model", "plan"},
    "memory": {"base", "tensor"},
    "io": {"base", "tensor"},
    "kernels": {"base", "tensor"},
    "checkpoint": {"base", "tensor", "memory", "io"},
    "device": {"base", "tensor", "memory", "kernels"},
}
TABLE["store"] = set(TABLE) - {"schedule"}
TABLE["engine"] = set(TABLE)

# The public headers are the outer face: they stand on nothing of ours.
PUBLIC = "penstock"
MAY_INCLUDE_PUBLIC = {PUBLIC, "engine", "bindings"}

# nlohmann_json is slow to compile: one unit alone includes it, base/json.h is for all others.
JSON_LIBRARY, JSON_UNIT = "<nlohmann/", "cpp/base/json_events.cc"

# Errors and element types are the words in which the bindings speak.
BINDINGS = {"engine", "plan", "model", "schedule", "base", "tensor"}


def folder_of(path: str) -> str:
    """The row of the table a file belongs to."""
    parts = path.split("/")
    if path.startswith("python/bindings/"):
        return "bindings"
    return PUBLIC if parts[1] == "include" else parts[1]


def allowed(folder: str) -> set[str]:
    """The folders that files of `folder` may include, its own among them."""
    own = {folder} - {"bindings"}
    public = {PUBLIC} if folder in MAY_INCLUDE_PUBLIC else set()
    return own | public | (BINDINGS if folder == "bindings" else TABLE.get(folder, set()))


def _violation(path: str, name: str) -> str | None:
    folder = folder_of(path)
    if name.startswith(JSON_LIBRARY) and path != JSON_UNIT:
        return f"only {JSON_UNIT} includes {name}: use base/json.h"
    if name.startswith("<"):
        if folder == PUBLIC and "/" in name:
            return f"a public header includes {name}: only the standard library is allowed"
        return None
    target = name.strip('"').split("/")[0]
    if "/" not in name or (target not in TABLE and target != PUBLIC):
        return f'{name}: includes are written relative to cpp/, as in "base/error.h"'
    if target not in allowed(folder):
        return f"{folder} may not include {name}"
    return None


def include_violations(path: str, source: str) -> list[str]:
    """What is wrong with the includes of one file."""
    folder = folder_of(path)
    if folder not in TABLE and folder not in (PUBLIC, "bindings"):
        return [f"{path}: cpp/{folder} is not in the table"]
    found = ((line, _violation(path, name)) for line, name in cxx.includes(source))
    return [f"{path}:{line}: {message}" for line, message in found if message]


def link_table(cmake: str) -> dict[str, set[str]]:
    """The folders and links that a CMake file declares with penstock_library()."""
    calls = re.findall(r"^penstock_library\(([^)]*)\)", cmake, re.MULTILINE)
    return {words[0]: set(words[1:]) for words in (call.split() for call in calls)}
