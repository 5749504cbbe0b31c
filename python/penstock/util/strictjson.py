"""JSON as untrusted input: no duplicate keys, no NaN, bounded depth, one kind of error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.errors import MalformedError, NotFoundError, StorageError

MAX_DEPTH = 32


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {json.dumps(twice[:80])} appears twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while containers := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [c for v in containers for c in (v.values() if isinstance(v, dict) else v)]
    return depth


def loads(raw: bytes, what: str) -> Any:
    """The value of UTF-8 JSON text; raises MalformedError naming `what` and why it is refused."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{what}: not UTF-8 (byte {error.start})"
        raise MalformedError(message, found=f"0x{raw[error.start]:02x}") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise MalformedError(f"{what}: nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise MalformedError(f"{what}: not JSON: {error}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise MalformedError(f"{what}: nested deeper than {MAX_DEPTH}")
    return value


def read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a file of at most `max_bytes`."""
    raw = read_bytes(path, max_bytes)
    value = loads(raw, str(path))
    if not isinstance(value, dict):
        raise MalformedError(f"{path}: not a JSON object", file=str(path))
    return value


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """A regular file of at most `max_bytes`; raises NotFound-, Malformed- or StorageError."""
    try:
        if path.exists() and not path.is_file():
            raise MalformedError(f"{path}: not a regular file", file=str(path))
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", file=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", file=str(path)) from None
    if len(raw) > max_bytes:
        message = f"{path}: over {max_bytes} bytes"
        raise MalformedError(message, file=str(path), allowed=str(max_bytes))
    return raw
