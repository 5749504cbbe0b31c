"""Where bytes live: every group of tensors by tier."""

from __future__ import annotations

from typing import Any

from penstock.page.svg import WIDTH, Box, Svg, text_width
from penstock.page.values import TIERS, mapping, number, objects, percent, shortened, text
from penstock.util.sizes import format_size

_ROW, _BAR = 30, 18
_SIZE_X, _SHARE_X = 240.0, 470.0
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
    rows = _few(rows)
    svg = Svg(30 + _ROW * len(rows), "Tensors by tier")
    svg.words(_SIZE_X - 10, 14, "size", "small end")
    svg.legend(_SHARE_X, 14, [(f"t-{tier}", tier) for tier in TIERS])
    largest = max(sum(tiers.values()) for _, tiers in rows)
    for index, (name, tiers) in enumerate(rows):
        _tensor_row(svg, 26 + index * _ROW, (name, tiers), largest)
    return svg.render()


def _few(rows: list[tuple[str, dict[str, float]]]) -> list[tuple[str, dict[str, float]]]:
    if len(rows) <= _MOST_TENSORS:
        return rows
    rest = rows[_MOST_TENSORS - 1 :]
    summed = {tier: sum(tiers[tier] for _, tiers in rest) for tier in TIERS}
    return [*rows[: _MOST_TENSORS - 1], (f"{len(rest)} more", summed)]


def _tensor_row(svg: Svg, y: float, row: tuple[str, dict[str, float]], largest: float) -> None:
    name, tiers = row
    total = sum(tiers.values())
    size = format_size(int(total))
    svg.words(0, y + 14, shortened(name, 17))
    svg.words(_SIZE_X - 10, y + 14, size, "small end")
    room = _SHARE_X - _SIZE_X - 24
    svg.rect(Box(_SIZE_X, y + 5, room * total / largest, 8), "quiet", f"{name}: {size}")
    x = _SHARE_X
    for tier, count in tiers.items():
        if not count:
            continue
        box = Box(x, y, (WIDTH - _SHARE_X) * count / total, _BAR)
        told = f"{percent(count / total)}, {format_size(int(count))}"
        svg.rect(box, f"t-{tier} edge", f"{name} on {tier}: {told}")
        fits = text_width(told, 12) + 8 <= box.width
        svg.within(box, told if fits else percent(count / total))
        x += box.width
