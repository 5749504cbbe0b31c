"""The roofline of the sweep: one flat roof for arithmetic, one slanted roof per link.

Each link has an intensity of its own, the operations a sweep does for a byte that crosses it. The
sweep's rate is one number; a link holds it back where its point touches its roof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from penstock.page.links import lane_class
from penstock.page.svg import Line, Size, Svg, power_words
from penstock.page.values import (
    digits,
    escaped,
    lane_name,
    mapping,
    number,
    objects,
    percent,
    scaled,
    shortened,
    text,
)

_LEFT, _PLOT, _HEIGHT, _TOP, _RIGHT = 92.0, 400.0, 270.0, 12.0, 18.0
_MOST_LINKS = 8


@dataclass(frozen=True)
class Link:
    """Its rate, and the operations of a sweep per byte of it (0: it carries nothing)."""

    name: str
    rate: float
    intensity: float

    @property
    def css(self) -> str:
        """Its colour's name."""
        return lane_class(self.name)


@dataclass(frozen=True)
class Axes:
    """Powers of ten at the plot's edges."""

    left: int
    right: int
    bottom: int
    top: int

    def x(self, value: float) -> float:
        """Where an intensity lies."""
        part = (math.log10(value) - self.left) / (self.right - self.left)
        return _LEFT + part * _PLOT

    def y(self, value: float) -> float:
        """Where a rate lies."""
        part = (math.log10(value) - self.bottom) / (self.top - self.bottom)
        return _TOP + (1 - part) * _HEIGHT


def roofline_chart(prediction: dict[str, Any]) -> str:
    """The chart; "" without figures for it."""
    found = mapping(prediction, "roofline")
    flops, peak = number(found.get("flops_per_sweep")), number(found.get("peak_flops_per_second"))
    spent = number(mapping(prediction, "sweep").get("seconds"))
    if not flops or not peak or not spent:
        return ""
    links = []
    for each in objects(found.get("links"))[:_MOST_LINKS]:
        rate, moved = number(each.get("bytes_per_second")), number(each.get("bytes_per_sweep"))
        if rate:
            links.append(Link(text(each.get("name")), rate, flops / moved if moved else 0.0))
    reached = flops / spent
    axes = _axes(links, peak, reached)
    size = Size(_LEFT + _PLOT + _RIGHT, _TOP + _HEIGHT + 42)
    svg = Svg(size, "Roofline of the sweep")
    _grid(svg, axes)
    _roofs(svg, axes, links, peak)
    _points(svg, axes, links, (peak, reached))
    plot = svg.render()
    return f'<div class="roofline">{plot}{_legend(links, peak, reached)}</div>'


def _axes(links: list[Link], peak: float, reached: float) -> Axes:
    used = [link for link in links if link.intensity]
    across = [x for link in used for x in (link.intensity, peak / link.rate)] or [1.0]
    left = math.floor(math.log10(min(across)) - 0.2)
    right = math.ceil(math.log10(max(across)) + 0.3)
    bottom = math.floor(math.log10(reached) - 0.7)
    top = math.ceil(math.log10(max(peak, reached)) + 0.2)
    return Axes(left, max(right, left + 2), bottom, max(top, bottom + 2))


def _grid(svg: Svg, axes: Axes) -> None:
    svg.rect((_LEFT, _TOP), Size(_PLOT, _HEIGHT), "plot")
    for power in range(axes.left, axes.right + 1):
        x = axes.x(10.0**power)
        svg.line(Line(x, _TOP, x, _TOP + _HEIGHT), "grid")
        svg.words(x, _TOP + _HEIGHT + 16, power_words(power, ""), "small middle")
    for power in range(axes.bottom, axes.top + 1):
        y = axes.y(10.0**power)
        svg.line(Line(_LEFT, y, _LEFT + _PLOT, y), "grid")
        svg.words(_LEFT - 8, y + 4, power_words(power, "FLOP/s"), "small end")
    words = "operations per byte that crosses the link"
    svg.words(_LEFT + _PLOT / 2, _TOP + _HEIGHT + 34, words, "small middle")


def _roofs(svg: Svg, axes: Axes, links: list[Link], peak: float) -> None:
    svg.line(Line(_LEFT, axes.y(peak), _LEFT + _PLOT, axes.y(peak)), "roof")
    lowest, left, right = 10.0**axes.bottom, 10.0**axes.left, 10.0**axes.right
    for index, link in enumerate(links):
        begin = max(left, lowest / link.rate)
        end = min(right, peak / link.rate)
        if begin >= end or not link.intensity:
            continue
        line = Line(axes.x(begin), axes.y(begin * link.rate), axes.x(end), axes.y(end * link.rate))
        same = any(abs(link.rate / other.rate - 1) < 0.05 for other in links[:index])
        svg.line(line, f"slant s-{link.css}{' dashed' if same else ''}")


def _points(svg: Svg, axes: Axes, links: list[Link], rates: tuple[float, float]) -> None:
    peak, reached = rates
    y = axes.y(reached)
    svg.line(Line(_LEFT, y, _LEFT + _PLOT, y), "reached")
    for link in links:
        if link.intensity:
            x, roof = axes.x(link.intensity), min(peak, link.intensity * link.rate)
            svg.line(Line(x, y, x, axes.y(roof)), f"room s-{link.css}")
            text = f"{lane_name(link.name)}: {digits(link.intensity)} operations per byte"
            svg.dot(x, y, f"l-{link.css} point", text)


def _legend(links: list[Link], peak: float, reached: float) -> str:
    of_roof = f"{percent(reached / peak)} of the arithmetic roof"
    entries = [
        _entry("key-roof", f"arithmetic, {scaled(peak, 'FLOP/s')}", ""),
        _entry("key-reached", f"the sweep, {scaled(reached, 'FLOP/s')}", of_roof),
    ]
    for link in links:
        if link.intensity:
            name = f"{shortened(lane_name(link.name), 40)}, {scaled(link.rate, 'B/s')}"
            text = f"{digits(link.intensity)} operations per byte"
            entries.append(_entry(f"l-{link.css}", name, text))
    return f'<div class="keys">{"".join(entries)}</div>'


def _entry(css: str, name: str, more: str) -> str:
    small = f'<span class="small">{escaped(more)}</span>' if more else ""
    return f'<p><i class="{css}"></i><span>{escaped(name)}</span>{small}</p>'
