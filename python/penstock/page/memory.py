"""What each tier holds, label by label, against its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.page.svg import WIDTH, Box, Line, Svg, colour, legend_rows
from penstock.page.values import TIERS, mapping, number, objects, ordered, percent, text
from penstock.util.sizes import format_size

_BAR, _ABOVE = 24, 24
_ROOM = WIDTH - 8  # the widest bar; what is left shows the end of the budget


@dataclass(frozen=True)
class _Tier:
    """Bytes by label; 0 for a budget that is not known."""

    name: str
    items: dict[str, float]
    budget: float

    @property
    def total(self) -> float:
        return sum(self.items.values())

    @property
    def headline(self) -> str:
        used = f"{format_size(int(self.total))} planned"
        if not self.budget:
            return used
        return f"{used}, {percent(self.total / self.budget)} of {format_size(int(self.budget))}"


def memory_chart(plan: dict[str, Any]) -> str:
    """A bar per tier; "" without a memory plan."""
    tiers = _tiers(plan)
    if not tiers:
        return ""
    largest: dict[str, float] = {}
    for tier in tiers:
        for label, count in tier.items.items():
            largest[label] = max(largest.get(label, 0.0), count)
    order = sorted(largest, key=lambda label: -largest[label])
    css = {label: colour(index) for index, label in enumerate(order)}
    legends = [_legend(tier, css) for tier in tiers]
    heights = [_ABOVE + _BAR + 28 + 20 * legend_rows(0, entries) for entries in legends]
    svg = Svg(sum(heights) - 12, "Memory by tier")
    y = 0.0
    for tier, entries, height in zip(tiers, legends, heights, strict=True):
        _bar(svg, y, tier, css)
        svg.legend(0, y + _ABOVE + _BAR + 20, entries)
        y += height
    return svg.render()


def _legend(tier: _Tier, css: dict[str, str]) -> list[tuple[str, str]]:
    return [(css[n], f"{n} {format_size(int(tier.items[n]))}") for n in css if n in tier.items]


def _bar(svg: Svg, y: float, tier: _Tier, css: dict[str, str]) -> None:
    svg.words(0, y + 15, tier.name, "strong")
    over = tier.budget and tier.total > tier.budget
    svg.words(WIDTH, y + 15, tier.headline, "small end bad" if over else "small end")
    top = y + _ABOVE
    scale = _ROOM / max(tier.total, tier.budget)
    if tier.budget:
        svg.rect(Box(0, top, tier.budget * scale, _BAR), "track")
    x = 0.0
    for label in css:
        if label not in tier.items:
            continue
        count = tier.items[label]
        box = Box(x, top, count * scale, _BAR)
        svg.rect(box, f"{css[label]} edge", f"{label}: {format_size(int(count))}")
        svg.within(box, label)
        x += box.width
    if tier.budget:
        at = tier.budget * scale
        svg.line(Line(at, top - 5, at, top + _BAR + 5), "budget")


def _tiers(plan: dict[str, Any]) -> list[_Tier]:
    found: dict[str, dict[str, float]] = {}
    for item in objects(plan.get("memory")):
        count = number(item.get("bytes"))
        if count:
            labels = found.setdefault(text(item.get("tier")), {})
            label = text(item.get("label"))
            labels[label] = labels.get(label, 0.0) + count
    budgets = mapping(plan, "prediction", "budget_bytes")
    return [_Tier(n, found[n], number(budgets.get(n))) for n in ordered(found, TIERS)]
