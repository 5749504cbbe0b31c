"""The steady-state sweep: what every lane does when, as bars on one track per lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.page.markup import colour, legend, percentage
from penstock.page.svg import time_ticks
from penstock.page.values import (
    LANES,
    escaped,
    lane_name,
    number,
    objects,
    percent,
    seconds,
    shortened,
    text,
)

_UNITS = 1000.0  # of the drawing's width: it is stretched to the room there is
_BAR = 24.0
_MOST_LANES = 12
_MOST_LABELS = 24
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
    def title(self) -> str:
        """What the pointer shows."""
        where = f", layer {self.layer}" if self.layer >= 0 else ""
        where += f", batch {self.batch}" if self.batch >= 0 else ""
        return f"{self.label}{where}: {seconds(self.end - self.begin)} from {seconds(self.begin)}"


@dataclass
class Bar:
    """Steps that are drawn as one: too narrow, and too close, to be seen singly."""

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
    def title(self) -> str:
        """What the pointer shows."""
        if self.count == 1:
            return self.first.title
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


def gantt(
    steps: list[Step],
    window: tuple[float, float],
    css: dict[str, str],
    shares: dict[str, float] | None = None,
) -> str:
    """The chart of what lies in a window of time; "" when nothing does.

    `shares`: how busy each lane is, shown beside it.
    """
    begin, end = window
    inside = [step for step in steps if step.end > begin and step.begin < end]
    lanes = _lanes(inside)
    if not lanes:
        return ""
    present = {step.label for step in inside}
    entries = [(c, shortened(label, 40)) for label, c in css.items() if label in present]
    rows = [
        _row(lane, _track([s for s in inside if s.lane == lane], window, css), shares)
        for lane in lanes
    ]
    return (
        f'{legend(entries[:_MOST_LABELS])}<div class="gantt">{"".join(rows)}{_axis(window)}</div>'
    )


def busy_shares(steps: list[Step], window: tuple[float, float]) -> dict[str, float]:
    """The part of a window that each lane works; steps of a lane do not overlap, or count once."""
    begin, end = window
    found: dict[str, float] = {}
    until: dict[str, float] = {}
    for step in steps:
        left, right = max(step.begin, begin, until.get(step.lane, begin)), min(step.end, end)
        until[step.lane] = max(until.get(step.lane, begin), right)
        found[step.lane] = found.get(step.lane, 0.0) + max(0.0, right - left) / (end - begin)
    return found


def _lanes(steps: list[Step]) -> list[str]:
    found = {step.lane for step in steps}
    known = [lane for lane in LANES if lane in found]
    return [*known, *sorted(found - set(LANES))][:_MOST_LANES]


def _row(lane: str, track: str, shares: dict[str, float] | None) -> str:
    share = "" if shares is None else percent(min(1.0, shares.get(lane, 0.0)))
    name = escaped(shortened(lane_name(lane), 40))
    return f'<div class="row"><b>{name}</b>{track}<span class="end">{share}</span></div>'


def _track(steps: list[Step], window: tuple[float, float], css: dict[str, str]) -> str:
    begin, end = window
    scale = _UNITS / (end - begin)
    parts = [_mark((at - begin) * scale) for at, _ in time_ticks(begin, end)[1]]
    for bar in merged(steps, 1 / scale):
        left, right = max(bar.begin, begin), min(bar.end, end)
        wide = max(0.4, (right - left) * scale)
        x = min((left - begin) * scale, _UNITS - wide)
        edge = " edge" if wide > 3 else ""
        parts.append(
            f'<rect x="{x:.2f}" y="0" width="{wide:.2f}" height="{_BAR:.0f}" '
            f'class="{css[bar.label]}{edge}"><title>{escaped(bar.title)}</title></rect>'
        )
    name = escaped(f"Steps of {lane_name(steps[0].lane)} over time")
    return (
        f'<svg viewBox="0 0 {_UNITS:.0f} {_BAR:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{name}">{"".join(parts)}</svg>'
    )


def _mark(x: float) -> str:
    return f'<line x1="{x:.2f}" y1="0" x2="{x:.2f}" y2="{_BAR:.0f}" class="grid"/>'


def _axis(window: tuple[float, float]) -> str:
    begin, end = window
    unit, marks = time_ticks(begin, end)
    shown = "".join(
        f'<span style="left:{percentage((at - begin) / (end - begin))}">{words}</span>'
        for at, words in marks
    )
    return f'<div class="row axis"><b>{unit}</b><div class="ticks">{shown}</div><span></span></div>'
