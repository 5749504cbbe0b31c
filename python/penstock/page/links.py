"""What crosses each link, and how long each lane is busy."""

from __future__ import annotations

from typing import Any

from penstock.page.markup import meter
from penstock.page.values import (
    LANES,
    escaped,
    lane_name,
    mapping,
    number,
    ordered,
    percent,
    scaled,
    seconds,
    shortened,
)
from penstock.util.sizes import format_size


def links_chart(prediction: dict[str, Any]) -> str:
    """A row per lane that has work: bytes of the job, and its share of the job's time."""
    lanes = mapping(prediction, "lanes")
    rows = [(lane, *_figures(lanes, lane)) for lane in ordered(lanes, LANES)]
    rows = [row for row in rows if row[1] or row[2]]
    if not rows:
        return ""
    whole = number(prediction.get("seconds")) or max(busy for _, _, busy in rows)
    most = max(moved for _, moved, _ in rows)
    head = "<b></b><span>bytes of the job</span><span>busy, of the time of the job</span>"
    shown = "".join(_row(row, most, whole) for row in rows)
    return f'<div class="links"><div class="row head">{head}</div>{shown}</div>'


def _figures(lanes: dict[str, Any], lane: str) -> tuple[float, float]:
    found = mapping(lanes, lane)
    return number(found.get("bytes")), number(found.get("seconds"))


def _row(row: tuple[str, float, float], most: float, whole: float) -> str:
    lane, moved, busy = row
    rate = f", {scaled(moved / busy, 'B/s')}" if moved and busy else ""
    text = f"{format_size(int(moved))}{rate}" if moved else "no bytes"
    css = f"l-{lane_class(lane)}"
    worked = f"{seconds(busy)}, {percent(min(1.0, busy / whole))}"
    bytes_bar = meter(moved / most if most else 0.0, css, text)
    name = escaped(shortened(lane_name(lane), 40))
    return f'<div class="row"><b>{name}</b>{bytes_bar}{meter(busy / whole, css, worked)}</div>'


def lane_class(lane: str) -> str:
    """The colour's name; "compute:1" looks as "compute"."""
    kind = lane.split(":")[0]
    return kind if kind in LANES else "other"
