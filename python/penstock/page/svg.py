"""Inline SVG as text, and the scales that charts stand on."""

from __future__ import annotations

import math
from typing import NamedTuple

from penstock.page.values import digits, escaped

# Name, seconds, and the shortest time that is shown in it.
_TIME_UNITS = (
    ("hours", 3600.0, 4 * 3600.0),
    ("minutes", 60.0, 600.0),
    ("seconds", 1.0, 0.5),
    ("milliseconds", 1e-3, -math.inf),
)


class Size(NamedTuple):
    """Of a drawing, in its own units; the page stretches it."""

    width: float
    height: float


class Line(NamedTuple):
    """From one point to another."""

    x1: float
    y1: float
    x2: float
    y2: float


def _at(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Svg:
    """One drawing; it takes what it is given in painting order."""

    def __init__(self, size: Size, label: str) -> None:
        """An empty one."""
        self._parts = [
            f'<svg viewBox="0 0 {_at(size.width)} {_at(size.height)}" role="img" '
            f'aria-label="{escaped(label)}">'
        ]

    def rect(self, corner: tuple[float, float], size: Size, css: str) -> None:
        """A rectangle."""
        x, y = corner
        self._parts.append(
            f'<rect x="{_at(x)}" y="{_at(y)}" width="{_at(size.width)}" '
            f'height="{_at(size.height)}" class="{css}"/>'
        )

    def line(self, line: Line, css: str) -> None:
        """A straight line."""
        points = f'x1="{_at(line.x1)}" y1="{_at(line.y1)}" x2="{_at(line.x2)}" y2="{_at(line.y2)}"'
        self._parts.append(f'<line {points} class="{css}"/>')

    def dot(self, x: float, y: float, css: str, title: str) -> None:
        """A point that stands out; `title` shows when the pointer rests on it."""
        self._parts.append(
            f'<circle cx="{_at(x)}" cy="{_at(y)}" r="5" class="{css}">'
            f"<title>{escaped(title)}</title></circle>"
        )

    def words(self, x: float, y: float, words: str, css: str = "") -> None:
        """Text from `x` on; the class ``end`` or ``middle`` anchors it otherwise."""
        named = f' class="{css}"' if css else ""
        self._parts.append(f'<text x="{_at(x)}" y="{_at(y)}"{named}>{escaped(words)}</text>')

    def render(self) -> str:
        """The element."""
        return "".join([*self._parts, "</svg>"])


def ticks(low: float, high: float, most: int = 10) -> list[float]:
    """Round values from `low` to `high`, at most about that many."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def time_ticks(begin: float, end: float) -> tuple[str, list[tuple[float, str]]]:
    """Round times in the unit that suits them: its name, and seconds with their words."""
    unit, scale = next((unit, scale) for unit, scale, least in _TIME_UNITS if end >= least)
    values = ticks(begin / scale, end / scale)
    step = values[1] - values[0] if len(values) > 1 else 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return unit, [(value * scale, f"{value:.{min(places, 9)}f}") for value in values]


def power_words(exponent: int, unit: str) -> str:
    """A power of ten as a tick of a logarithmic axis."""
    prefixes = {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
    base = min(18, max(0, exponent // 3 * 3))
    front = digits(10.0 ** (exponent - base)) if exponent < 0 else str(10 ** (exponent - base))
    return f"{front} {prefixes[base]}{unit}".rstrip()
