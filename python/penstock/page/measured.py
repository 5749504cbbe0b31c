"""A sweep of a run as its trace tells it, to be drawn as the predicted one is."""

from __future__ import annotations

from typing import Any

from penstock.page.gantt import Step
from penstock.page.values import mapping, number, objects, text

_MICROSECONDS = 1e6
_FIRST = "embed"  # the operation of all micro-batches that a sweep begins with
_BETWEEN = ("poison",)  # the virtual accelerator's own


def measured_sweep(trace: dict[str, Any]) -> list[Step]:
    """Steps of the sweep of median length, from its begin; [] for what is no trace of sweeps.

    `trace` is what ``penstock run --trace`` writes. A sweep begins where the compute lane embeds
    tokens again.
    """
    slices = [each for each in objects(trace.get("traceEvents")) if each.get("ph") == "X"]
    lanes = _lanes(trace)
    slices.sort(key=lambda each: number(each.get("ts")))
    begins = _begins([each for each in slices if _lane(each, lanes) == "compute"])
    spans = sorted(zip(begins, begins[1:], strict=False), key=lambda span: span[1] - span[0])
    if not spans:
        return []
    begin, end = spans[len(spans) // 2]
    steps = [_step(each, lanes, begin) for each in slices]
    return [step for step in steps if step is not None and _inside(step, end - begin)]


def _lanes(trace: dict[str, Any]) -> dict[int, str]:
    """Names of lanes by the number of a track; a lane with several in flight has several."""
    found: dict[int, str] = {}
    for each in objects(trace.get("traceEvents")):
        track = each.get("tid")
        if each.get("name") == "thread_name" and isinstance(track, int):
            name = text(mapping(each, "args").get("name"))
            found[track] = name.split(" ")[0]
    return found


def _lane(each: dict[str, Any], lanes: dict[int, str]) -> str:
    """The lane of a slice; "" for one on a track without a name."""
    track = each.get("tid")
    return lanes.get(track, "") if isinstance(track, int) else ""


def _begins(computed: list[dict[str, Any]]) -> list[float]:
    """Seconds at which sweeps begin; the last one is where the last sweep ends."""
    found: list[float] = []
    last, end = "", 0.0
    for each in computed:
        begin, label = number(each.get("ts")) / _MICROSECONDS, text(each.get("name"))
        if label == _FIRST and last != _FIRST:
            found.append(begin)
        if label not in _BETWEEN:
            last = label
        end = max(end, begin + number(each.get("dur")) / _MICROSECONDS)
    return [*found, end] if found else []


def _step(each: dict[str, Any], lanes: dict[int, str], origin: float) -> Step | None:
    begin = number(each.get("ts")) / _MICROSECONDS - origin
    end = begin + number(each.get("dur")) / _MICROSECONDS
    lane = _lane(each, lanes)
    return Step(lane, begin, end, text(each.get("name")) or "step", -1, -1) if lane else None


def _inside(step: Step, whole: float) -> bool:
    return step.end > max(step.begin, 0) and step.begin < whole
