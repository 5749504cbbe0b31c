"""What crosses each link, and how long each lane is busy."""

from __future__ import annotations

from typing import Any

from penstock.page.svg import WIDTH, Box, Svg
from penstock.page.values import (
    LANES,
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

_ROW, _BAR = 32, 18
_BYTES_X, _BUSY_X = 120.0, 620.0
_WORDS = 150  # room for the words after the longest bar


def links_chart(prediction: dict[str, Any]) -> str:
    """A row per lane that has work: bytes of the job, and its share of the job's time."""
    lanes = mapping(prediction, "lanes")
    rows = [(lane, *_figures(lanes, lane)) for lane in ordered(lanes, LANES)]
    rows = [row for row in rows if row[1] or row[2]]
    if not rows:
        return ""
    whole = number(prediction.get("seconds")) or max(busy for _, _, busy in rows)
    most = max(moved for _, moved, _ in rows)
    svg = Svg(30 + _ROW * len(rows), "Bytes and seconds per lane")
    svg.words(_BYTES_X, 14, "bytes of the job", "small")
    svg.words(_BUSY_X, 14, "busy, of the time of the job", "small")
    for index, (lane, moved, busy) in enumerate(rows):
        y = 26 + index * _ROW
        svg.words(_BYTES_X - 10, y + 14, shortened(lane_name(lane), 14), "end")
        _bytes(svg, y, (lane, moved, busy), most)
        _busy(svg, y, (lane, busy), whole)
    return svg.render()


def _figures(lanes: dict[str, Any], lane: str) -> tuple[float, float]:
    found = mapping(lanes, lane)
    return number(found.get("bytes")), number(found.get("seconds"))


def _bytes(svg: Svg, y: float, row: tuple[str, float, float], most: float) -> None:
    lane, moved, busy = row
    if not moved:
        svg.words(_BYTES_X, y + 14, "\u2013", "small")
        return
    rate = f", {scaled(moved / busy, 'B/s')}" if busy else ""
    told = f"{format_size(int(moved))}{rate}"
    wide = (_BUSY_X - _BYTES_X - _WORDS - 20) * moved / most
    svg.rect(Box(_BYTES_X, y, wide, _BAR), f"l-{_css(lane)}", f"{lane_name(lane)}: {told}")
    svg.words(_BYTES_X + wide + 8, y + 14, told, "small")


def _busy(svg: Svg, y: float, row: tuple[str, float], whole: float) -> None:
    lane, busy = row
    share = min(1.0, busy / whole) if whole else 0.0
    room = WIDTH - _BUSY_X - _WORDS
    told = f"{seconds(busy)}, {percent(share)}"
    svg.rect(Box(_BUSY_X, y, room, _BAR), "track")
    if busy:
        box = Box(_BUSY_X, y, room * share, _BAR)
        svg.rect(box, f"l-{_css(lane)}", f"{lane_name(lane)}: {told}")
    svg.words(_BUSY_X + room + 8, y + 14, told, "small")


def _css(lane: str) -> str:
    kind = lane.split(":")[0]  # "compute:1" looks as "compute"
    return kind if kind in LANES else "other"
