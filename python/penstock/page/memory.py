"""What each tier will hold, label by label, against its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.page.markup import bar, colour, legend, stack
from penstock.page.values import TIERS, escaped, mapping, number, objects, ordered, percent, text
from penstock.util.sizes import format_size

_ROOM = 0.97  # of the width, for the larger of the budget and what is planned


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
    largest: dict[str, float] = {}
    for tier in tiers:
        for label, count in tier.items.items():
            largest[label] = max(largest.get(label, 0.0), count)
    order = sorted(largest, key=lambda label: -largest[label])
    css = {label: colour(index) for index, label in enumerate(order)}
    return "".join(_chart(tier, css) for tier in tiers)


def _chart(tier: _Tier, css: dict[str, str]) -> str:
    over = " bad" if tier.budget and tier.total > tier.budget else ""
    headline = f'<p class="tier"><b>{escaped(tier.name)}</b><span class="small{over}">'
    headline += f"{escaped(tier.headline)}</span></p>"
    scale = _ROOM / max(tier.total, tier.budget)
    items = [(label, tier.items[label]) for label in css if label in tier.items]
    sizes = {label: f"{label} {format_size(int(count))}" for label, count in items}
    parts = [bar(count * scale, f"{css[label]} edge", sizes[label]) for label, count in items]
    bars = stack(parts, tier.budget * scale if tier.budget else None)
    return headline + bars + legend([(css[label], words) for label, words in sizes.items()])


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
