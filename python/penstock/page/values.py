"""What the page reads from plans and reports: JSON that may lack anything, as numbers and words.

A report is a file that anyone may have written, so every value is taken for what it is or not at
all, and every text loses what XML cannot hold.
"""

from __future__ import annotations

import html
import math
import re
from datetime import datetime
from typing import Any

LANES = ("compute", "host_compute", "h2d", "d2h", "disk_read", "disk_write")
TIERS = ("device", "host", "disk")
_LONGEST_TEXT = 2000
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def mapping(value: Any, *names: str) -> dict[str, Any]:
    """The object below these names; {} where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; [] for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def number(value: Any) -> float:
    """A finite number of at least 0; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        found = float(value)
    except OverflowError:
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def text(value: Any) -> str:
    """A string as it may stand in a page, not escaped; other values as Python shows them."""
    shown = "" if value is None else value if isinstance(value, str) else str(value)
    return _NOT_XML.sub("\ufffd", shown[:_LONGEST_TEXT])


def escaped(value: Any) -> str:
    """The same, for between tags and in quoted attributes."""
    return html.escape(text(value), quote=True)


def shortened(value: Any, most: int) -> str:
    """At most that many characters, the end of them kept."""
    shown = text(value)
    return shown if len(shown) <= most else "\u2026" + shown[1 - most :]


def ordered(found: dict[str, Any], first: tuple[str, ...]) -> list[str]:
    """The names of an object, the known ones first and in their order."""
    return [n for n in first if n in found] + [str(n) for n in found if n not in first]


def lane_name(lane: str) -> str:
    """How people read a lane's name."""
    return text(lane).replace("_", " ")


def digits(value: float) -> str:
    """Three significant digits, no exponent."""
    if value <= 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(value))) if value < 100 else 0
    return f"{value:,.{min(places, 9)}f}"


def scaled(value: float, unit: str) -> str:
    """``12.9 GB/s`` and the like: powers of 1000."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 999.5:
            return f"{digits(value)} {prefix}{unit}"
        value /= 1000
    return f"{digits(value)} P{unit}"


def seconds(value: float) -> str:
    """``1 h 12 min``, ``3 min 20 s``, ``4.20 s`` or ``12.0 ms``."""
    if value >= 3599.5:
        minutes = round(value / 60)
        return f"{minutes // 60:,} h {minutes % 60} min"
    if value >= 99.95:
        return f"{round(value) // 60} min {round(value) % 60} s"
    return f"{digits(value)} s" if value >= 1 or value == 0 else f"{digits(value * 1000)} ms"


def moment(when: datetime) -> str:
    """``1 December 2026, 00:45 UTC``: a date and time of day that everybody reads the same way."""
    date = f"{when.day} {_MONTHS[when.month - 1]} {when.year}"
    return f"{date}, {when:%H:%M} {when.tzname() or ''}".rstrip()


def percent(share: float) -> str:
    """``41 %``; a decimal below 1 %."""
    return f"{share:.1%}".replace("%", " %") if 0 < share < 0.01 else f"{share:.0%}"[:-1] + " %"
