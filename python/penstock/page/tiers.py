"""Where bytes live: every group of tensors by tier."""

from __future__ import annotations

from typing import Any

from penstock.page.markup import bar, legend, stack
from penstock.page.values import TIERS, escaped, mapping, number, objects, percent, shortened, text
from penstock.util.sizes import format_size

_MOST_TENSORS = 40


def tensors_chart(prediction: dict[str, Any]) -> str:
    """A row per group: its size, and what share of it lives where; "" without such a list."""
    rows = []
    for tensor in objects(prediction.get("tensors")):
        tiers = {tier: number(mapping(tensor, "bytes").get(tier)) for tier in TIERS}
        if sum(tiers.values()) > 0:
            rows.append((text(tensor.get("name")), tiers))
    if not rows:
        return ""
    shown = "".join(_row(name, tiers) for name, tiers in _few(rows))
    names = legend([(f"t-{tier}", tier) for tier in TIERS])
    return f'{names}<div class="tensors">{shown}</div>'


def _few(rows: list[tuple[str, dict[str, float]]]) -> list[tuple[str, dict[str, float]]]:
    if len(rows) <= _MOST_TENSORS:
        return rows
    rest = rows[_MOST_TENSORS - 1 :]
    summed = {tier: sum(tiers[tier] for _, tiers in rest) for tier in TIERS}
    return [*rows[: _MOST_TENSORS - 1], (f"{len(rest)} more", summed)]


def _row(name: str, tiers: dict[str, float]) -> str:
    total = sum(tiers.values())
    parts, words = [], []
    for tier, count in tiers.items():
        if not count:
            continue
        text = f"{percent(count / total)} {tier}, {format_size(int(count))}"
        parts.append(bar(count / total, f"t-{tier} edge", f"{name}: {text}"))
        words.append(text)
    whole = format_size(int(total))
    summary = escaped(words[0].split(",")[0] if len(words) == 1 else "; ".join(words))
    return (
        f'<div class="row"><b>{escaped(shortened(name, 40))}</b><span class="end">{whole}</span>'
        f"{stack(parts)}<span>{summary}</span></div>"
    )
