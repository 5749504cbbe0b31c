"""Words that must not appear, and where they may."""

import ast
import re
from collections.abc import Iterator

from rules import cxx, exceptions

CONFIG_READER = "python/penstock/util/config.py"

# A function that an ISA file inlines from a header may be kept by the linker for every caller, wide
# instructions included. So these files see only headers without such functions.
ISA_FILE = re.compile(
    r"^cpp/(?:kernels|base)/.*(?:\.inl|/vec_[^/]*\.h|(?:avx|sse|neon|armv)[^/]*\.(?:cc|h))$"
)
ISA_HEADERS = {
    *("<arm_acle.h>", "<arm_neon.h>"),
    *("<bit>", "<cmath>", "<concepts>", "<cstddef>", "<cstdint>", "<cstring>", "<immintrin.h>"),
    *("<limits>", "<nmmintrin.h>", "<type_traits>"),
}

FOREIGN_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "torch"}
_MACHINE_PATH = re.compile(r"(?<![\w.:/$}~-])/(?:work|root|home|Users|tmp|opt)/\w")
_NOT_A_VARIABLE = re.compile(
    r"^(?:using|typedef|namespace|class|struct|enum|union|friend|static_assert|concept|extern)\b"
)
_CONSTANT = re.compile(r"\b(?:const|constexpr|constinit const)\b")


def _matches(pattern: str, path: str, text: str) -> Iterator[str]:
    for match in re.finditer(pattern, text, re.MULTILINE):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{path}:{line}: {match.group().strip()}"


def environment_reads(path: str, source: str) -> list[str]:
    """Reads of environment variables outside the one config reader."""
    if path == CONFIG_READER:
        return []
    if path.endswith(".py"):
        return list(_matches(r"\bos\.(?:environb?|getenvb?)\b|import.*\bgetenv\b", path, source))
    return list(_matches(r"\b(?:secure_)?getenv\s*\(|\benviron\b", path, cxx.code(source)))


def macros(path: str, source: str) -> list[str]:
    """Preprocessor definitions that exceptions.py does not list."""
    found = re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", cxx.without_comments(source), re.M)
    names = [match[1] for match in found]
    return [f"{path}: #define {n}" for n in names if f"{path}:{n}" not in exceptions.MACROS]


def include_guard(path: str, source: str) -> list[str]:
    """A header must say `#pragma once`."""
    if not path.endswith((".h", ".cuh")) or re.search(r"^#pragma once$", source, re.M):
        return []
    return [f"{path}: no #pragma once"]


def _is_mutable_variable(statement: cxx.Statement) -> bool:
    is_static = re.match(r"(?:inline\s+)?(?:static|thread_local)\b", statement.text)
    text = re.sub(r"^(?:(?:inline|static|thread_local|constinit)\s+)+", "", statement.text)
    if _CONSTANT.search(text) or _NOT_A_VARIABLE.match(text) or "operator" in text:
        return False
    if statement.scope == "type" and not is_static:
        return False
    is_function = re.match(r"[^({=]*\(", text)
    declared = re.split(r"[={]", text, maxsplit=1)[0]
    return not is_function and bool(re.match(r"[\w:<>,*&\s]+[\s>*&]\w+(?:\[.*\])?\s*$", declared))


def mutable_globals(path: str, source: str) -> list[str]:
    """Variables with static storage that can change: at namespace scope, in types and functions."""
    found = [(s.line, s.text) for s in cxx.statements(source) if _is_mutable_variable(s)]
    for function in cxx.functions(source):
        for match in re.finditer(r"\b(?:static|thread_local)\s[^;(={]*[;(={]", function.body):
            if not _CONSTANT.search(match.group()):
                line = function.line + function.body.count("\n", 0, match.start())
                found.append((line, match.group()))
    listed = tuple(exceptions.MUTABLE_GLOBALS)
    violations = [f"{path}:{line}: {text}" for line, text in found]
    return [
        v
        for v, (_, text) in zip(violations, found, strict=True)
        if not f"{path}:{text}".startswith(listed or ("\0",))
    ]


def file_mappings(path: str, source: str) -> list[str]:
    """Memory maps outside cpp/memory (which maps no files): a truncated file must be an error."""
    if path.startswith("cpp/memory/"):
        return []
    if path.endswith(".py"):
        return list(_matches(r"^\s*(?:import|from) mmap\b|\bmemmap\b|\bmmap_mode\b", path, source))
    return list(_matches(r"\bmmap(?:64)?\s*\(", path, cxx.code(source)))


def foreign_imports(path: str, source: str) -> list[str]:
    """Imports of modules that run code from data, or that the package must not need."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [
            f"{path}:{node.lineno}: import {name}"
            for name in names
            if name.split(".")[0] in FOREIGN_MODULES
        ]
    return found


def vague_names(path: str, source: str) -> list[str]:
    """Names with "told" in them: such a name does not say what it holds."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        found = (getattr(node, field, None) for field in ("id", "attr", "arg", "name"))
        names |= {name for name in found if isinstance(name, str)}
    return [f"{path}: {name}" for name in sorted(names) if "told" in name.lower().split("_")]


def heavy_isa_includes(path: str, source: str) -> list[str]:
    """Standard headers that an ISA file must not include."""
    if not ISA_FILE.match(path):
        return []
    return [
        f"{path}:{line}: {name}"
        for line, name in cxx.includes(source)
        if name.startswith("<") and name not in ISA_HEADERS
    ]


def machine_paths(path: str, source: str) -> list[str]:
    """Absolute paths of one machine."""
    return list(_matches(_MACHINE_PATH.pattern, path, source))
