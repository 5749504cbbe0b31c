"""The steady-state sweep: what every lane does when, as bars on one track per lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.page.svg import (
    WIDTH,
    Box,
    Line,
    Svg,
    colour,
    legend_rows,
    text_width,
    tick_words,
    ticks,
)
from penstock.page.values import (
    LANES,
    lane_name,
    number,
    objects,
    percent,
    seconds,
    shortened,
    text,
)

_LEFT, _RIGHT = 110.0, 64.0  # lane names; shares
_ROW, _BAR = 34, 24
_MOST_LANES = 12
_ZOOM_LAYERS, _ZOOM_FROM = 3, 9  # layers shown close up, of sweeps of at least that many


@dataclass(frozen=True)
class Step:
    """One step of a lane; seconds within the sweep. -1: of no layer, of no batch."""

    lane: str
    begin: float
    end: float
    label: str
    layer: int
    batch: int

    @property
    def told(self) -> str:
        """What the pointer shows."""
        where = f", layer {self.layer}" if self.layer >= 0 else ""
        where += f", batch {self.batch}" if self.batch >= 0 else ""
        return f"{self.label}{where}: {seconds(self.end - self.begin)} from {seconds(self.begin)}"


@dataclass
class Bar:
    """Steps that are drawn as one: too narrow, and too close, to be told apart."""

    begin: float
    end: float
    first: Step
    labels: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, step: Step) -> None:
        """Takes a step in."""
        self.end = max(self.end, step.end)
        self.labels[step.label] = self.labels.get(step.label, 0.0) + step.end - step.begin
        self.count += 1

    @property
    def label(self) -> str:
        """That of most of its time."""
        return max(self.labels, key=lambda label: self.labels[label])

    @property
    def told(self) -> str:
        """What the pointer shows."""
        if self.count == 1:
            return self.first.told
        spent = ", ".join(f"{n} {seconds(s)}" for n, s in self.labels.items())
        return f"{self.count} steps from {seconds(self.begin)}: {shortened(spent, 120)}"


def merged(steps: list[Step], pixel: float) -> Iterator[Bar]:
    """The bars of one lane, steps in order of time; `pixel` is the seconds one of them covers."""
    bar: Bar | None = None
    for step in steps:
        if bar is not None and _joins(bar, step, pixel):
            bar.add(step)
            continue
        if bar is not None:
            yield bar
        bar = Bar(step.begin, step.end, step)
        bar.add(step)
    if bar is not None:
        yield bar


def _joins(bar: Bar, step: Step, pixel: float) -> bool:
    is_narrow = step.end - max(step.begin, bar.end) < pixel
    if step.begin - bar.end >= pixel or not is_narrow:
        return False
    return bar.end - bar.begin < pixel or bar.label == step.label


def read_steps(sweep: dict[str, Any]) -> list[Step]:
    """The steps of a prediction's sweep in order of time; those without length are left out."""
    found = []
    for each in objects(sweep.get("steps")):
        begin, end = number(each.get("begin")), number(each.get("end"))
        if end > begin:
            lane, label = text(each.get("lane")), text(each.get("label")) or "step"
            layer, batch = _index(each.get("layer")), _index(each.get("batch"))
            found.append(Step(lane, begin, end, label, layer, batch))
    return sorted(found, key=lambda step: (step.begin, step.end))


def _index(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def label_colours(steps: list[Step]) -> dict[str, str]:
    """A class per label; what takes most time comes first."""
    spent: dict[str, float] = {}
    for step in steps:
        spent[step.label] = spent.get(step.label, 0.0) + step.end - step.begin
    order = sorted(spent, key=lambda label: -spent[label])
    return {label: colour(index) for index, label in enumerate(order)}


def zoomed(steps: list[Step]) -> tuple[float, float] | None:
    """Begin and end of the computation of a few layers in the middle; None for short models."""
    layers = sorted({step.layer for step in steps if step.layer >= 0})
    if len(layers) < _ZOOM_FROM:
        return None
    middle = len(layers) // 2
    shown = set(layers[middle : middle + _ZOOM_LAYERS])
    inside = [s for s in steps if s.layer in shown and s.lane == "compute"]
    if not inside:
        return None
    return min(s.begin for s in inside), max(s.end for s in inside)


def gantt(steps: list[Step], window: tuple[float, float], css: dict[str, str]) -> str:
    """The chart of what lies in a window of time; "" when nothing does."""
    begin, end = window
    inside = [step for step in steps if step.end > begin and step.begin < end]
    lanes = _lanes(inside)
    if not lanes:
        return ""
    present = {step.label for step in inside}
    entries = [(c, shortened(label, 40)) for label, c in css.items() if label in present][:24]
    top = 12 + 20.0 * legend_rows(_LEFT, entries)
    svg = Svg(top + _ROW * len(lanes) + 40, "Steps of every lane over time")
    svg.legend(_LEFT, 12, entries)
    _axis(svg, window, top, _ROW * len(lanes))
    for index, lane in enumerate(lanes):
        of_lane = [step for step in inside if step.lane == lane]
        _track(svg, top + index * _ROW, of_lane, (window, css))
    return svg.render()


def _lanes(steps: list[Step]) -> list[str]:
    found = {step.lane for step in steps}
    known = [lane for lane in LANES if lane in found]
    return [*known, *sorted(found - set(LANES))][:_MOST_LANES]


def _track(
    svg: Svg, y: float, steps: list[Step], drawn: tuple[tuple[float, float], dict[str, str]]
) -> None:
    (begin, end), css = drawn
    room = WIDTH - _LEFT - _RIGHT
    scale = room / (end - begin)
    svg.words(_LEFT - 10, y + 21, shortened(lane_name(steps[0].lane), 14), "end")
    svg.rect(Box(_LEFT, y + 5, room, _BAR), "track")
    busy = 0.0
    for bar in merged(steps, 1 / scale):
        left, right = max(bar.begin, begin), min(bar.end, end)
        busy += min(right - left, sum(bar.labels.values()))
        box = Box(_LEFT + (left - begin) * scale, y + 5, (right - left) * scale, _BAR)
        is_wide = box.width > 3
        svg.rect(box, css[bar.label] + (" edge" if is_wide else ""), bar.told)
        if text_width(bar.label, 12) + 8 <= box.width:
            svg.within(box, bar.label)
    svg.words(WIDTH, y + 21, percent(min(1.0, busy / (end - begin))), "small end")


def _axis(svg: Svg, window: tuple[float, float], top: float, height: float) -> None:
    begin, end = window
    marks = ticks(begin, end)
    for mark, words in zip(marks, tick_words(marks), strict=True):
        x = _LEFT + (mark - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT)
        svg.line(Line(x, top, x, top + height + 4), "grid")
        svg.words(x, top + height + 19, words, "small middle")
    svg.words(_LEFT - 10, top + height + 19, "seconds", "small end")
    svg.words(WIDTH, top + height + 19, "busy", "small end")
