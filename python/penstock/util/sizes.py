"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re

from penstock.errors import InvalidArgumentError

_UNITS = {"": 1, "B": 1}
_UNITS.update({f"{p}B": 1000 ** (i + 1) for i, p in enumerate("KMGT")})
_UNITS.update({f"{p}iB": 1024 ** (i + 1) for i, p in enumerate("KMGT")})
_LOWER = {unit.lower(): scale for unit, scale in _UNITS.items()}
_PATTERN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_LARGEST = 1 << 60


def _refuse(value: object, name: str, hint: str = "") -> InvalidArgumentError:
    allowed = "a number of bytes, or a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB"
    found = repr(value)[:64]
    message = f"{name}: {found} is not a size; allowed: {allowed}{hint}"
    return InvalidArgumentError(message, field=name, found=found, allowed=allowed)


def parse_sizes(value: int | str | list[int] | list[str] | None, name: str = "sizes") -> list[int]:
    """Bytes from ``4GiB``, from several with commas between them, or from a list.

    ``None`` and ``""`` are none. Raises InvalidArgumentError as parse_size().
    """
    if value is None or value == "":
        return []
    given = value.split(",") if isinstance(value, str) else value
    return [parse_size(each, name) for each in (given if isinstance(given, list) else [given])]


def parse_size(value: int | str | None, name: str = "size") -> int:
    """Bytes from ``4GiB``, ``500MB``, ``1024`` or an integer; ``None`` and ``""`` are 0.

    Raises InvalidArgumentError for anything else, and for sizes that are negative or over 1 EiB.
    """
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _refuse(value, name)
    if isinstance(value, int):
        if not 0 <= value <= _LARGEST:
            raise _refuse(value, name)
        return value
    match = _PATTERN.fullmatch(value)
    unit = match[2].lower() if match else ""
    if match is None or len(match[1]) > 24:
        raise _refuse(value, name)
    if unit not in _LOWER:
        short = unit.upper() in ("K", "M", "G", "T")
        both = f"; write {match[1]}{unit.upper()}iB or {match[1]}{unit.upper()}B" if short else ""
        raise _refuse(value, name, both)
    size = float(match[1]) * _LOWER[unit]
    if size > _LARGEST or (not unit and "." in match[1]):
        raise _refuse(value, name)
    return int(match[1]) * _LOWER[unit] if "." not in match[1] else int(size)


def format_size(size: int) -> str:
    """``3.5 GiB`` and the like, for people."""
    scaled = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(scaled) < 1024:
            return f"{size} B" if unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1024
    return f"{scaled:.1f} TiB"
