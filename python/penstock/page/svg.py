"""Inline SVG as text: rectangles, lines and words, and the scales they stand on."""

from __future__ import annotations

import math
from typing import NamedTuple

from penstock.page.values import digits, escaped, text

WIDTH = 1080.0
COLOURS = 10
_EM = 0.6  # of the font's size: a cautious width of one character
_FONT = 13


class Box(NamedTuple):
    """A rectangle in the drawing's units."""

    x: float
    y: float
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


def text_width(words: str, size: int = _FONT) -> float:
    """About how wide a text is; never much less than it turns out."""
    return len(text(words)) * size * _EM


def colour(index: int) -> str:
    """The class of the n-th thing that is told apart by colour."""
    return f"c{index}" if index < COLOURS else "other"


class Svg:
    """One drawing of the page's width; it takes what it is given in painting order."""

    def __init__(self, height: float, label: str) -> None:
        self._parts = [
            f'<svg viewBox="0 0 {_at(WIDTH)} {_at(height)}" role="img" '
            f'aria-label="{escaped(label)}">'
        ]

    def rect(self, box: Box, css: str, title: str = "") -> None:
        """A filled rectangle; `title` shows when the pointer rests on it."""
        shape = (
            f'<rect x="{_at(box.x)}" y="{_at(box.y)}" width="{_at(max(0.4, box.width))}" '
            f'height="{_at(box.height)}" class="{css}"'
        )
        end = f"><title>{escaped(title)}</title></rect>" if title else "/>"
        self._parts.append(shape + end)

    def line(self, line: Line, css: str) -> None:
        """A straight line."""
        points = f'x1="{_at(line.x1)}" y1="{_at(line.y1)}" x2="{_at(line.x2)}" y2="{_at(line.y2)}"'
        self._parts.append(f'<line {points} class="{css}"/>')

    def dot(self, x: float, y: float, css: str, title: str) -> None:
        """A point that stands out."""
        self._parts.append(
            f'<circle cx="{_at(x)}" cy="{_at(y)}" r="6" class="{css}">'
            f"<title>{escaped(title)}</title></circle>"
        )

    def words(self, x: float, y: float, words: str, css: str = "") -> None:
        """Text from `x` on; the class ``end`` or ``middle`` anchors it otherwise."""
        named = f' class="{css}"' if css else ""
        self._parts.append(f'<text x="{_at(x)}" y="{_at(y)}"{named}>{escaped(words)}</text>')

    def within(self, box: Box, words: str) -> None:
        """Text in the middle of a filled box, where it fits."""
        if text_width(words, 12) + 8 <= box.width:
            self.words(box.x + box.width / 2, box.y + box.height / 2 + 4, words, "middle inside")

    def legend(self, x: float, y: float, entries: list[tuple[str, str]]) -> float:
        """Swatches (class, words) in rows from `x`, `y` on; where the next row would begin."""
        left = x
        for css, words in entries:
            wide = text_width(words, 12) + 30
            if x > left and x + wide > WIDTH:
                x, y = left, y + 20
            self.rect(Box(x, y - 10, 11, 11), css)
            self.words(x + 16, y, words, "small")
            x += wide
        return y + 20

    def render(self) -> str:
        """The element."""
        return "".join([*self._parts, "</svg>"])


def legend_rows(x: float, entries: list[tuple[str, str]]) -> int:
    """How many rows :meth:`Svg.legend` will take."""
    rows, at = 1, x
    for _, words in entries:
        wide = text_width(words, 12) + 30
        if at > x and at + wide > WIDTH:
            rows, at = rows + 1, x
        at += wide
    return rows


def ticks(low: float, high: float, most: int = 10) -> list[float]:
    """Round values from `low` to `high`, at most about that many."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_words(values: list[float]) -> list[str]:
    """The ticks' labels with as many decimals as tell them apart."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [f"{value:.{min(places, 9)}f}" for value in values]


def power_words(exponent: int, unit: str) -> str:
    """A power of ten as a tick of a logarithmic axis."""
    prefixes = {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
    base = min(18, max(0, exponent // 3 * 3))
    front = digits(10.0 ** (exponent - base)) if exponent < 0 else str(10 ** (exponent - base))
    return f"{front} {prefixes[base]}{unit}".rstrip()
