"""The page's tables: predicted against measured, what would change it, the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.page.values import (
    LANES,
    TIERS,
    digits,
    escaped,
    lane_name,
    mapping,
    number,
    objects,
    ordered,
    percent,
    seconds,
    shortened,
    text,
)
from penstock.util.sizes import format_size

_CLOSE = 0.15  # a prediction within that is good
_SAME_JOB = ("model", "device", "weights", "kv", "compute", "invariant")
_MOST_CHANGES = 40

Row = tuple[str, float, float, Callable[[float], str]]


def table(head: list[str], rows: list[list[str]], css: str = "") -> str:
    """An HTML table of cells that are HTML already; all columns but the first are numbers."""
    first = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    named = f' class="{css}"' if css else ""
    return f"<table{named}><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"


_PHASES = {
    "prompts": "only prompts are read",
    "both": "prompts are read, tokens generated",
    "tokens": "only tokens are generated",
}


def phase_words(name: str) -> str:
    """What the sweeps of a phase do."""
    return _PHASES.get(name, name)


def phase_shares(prediction: dict[str, Any], name: str) -> dict[str, float]:
    """How busy each lane is in a phase, as the table and the charts tell it; {} if not known."""
    for phase in objects(prediction.get("phases")):
        spent = number(phase.get("seconds"))
        if text(phase.get("name")) == name and spent:
            lanes = mapping(phase, "lanes")
            return {lane: min(1.0, number(lanes[lane]) / spent) for lane in lanes}
    return {}


def phases(prediction: dict[str, Any]) -> str:
    """How busy each lane is, in the whole job and in each phase of it; "" if that is not known."""
    whole, lanes = number(prediction.get("seconds")), mapping(prediction, "lanes")
    found = [each for each in objects(prediction.get("phases")) if number(each.get("seconds"))]
    if not whole or not lanes or not found:
        return ""
    job = {lane: min(1.0, number(mapping(lanes, lane).get("seconds")) / whole) for lane in lanes}
    names = [text(each.get("name")) for each in found]
    columns = [job, *(phase_shares(prediction, name) for name in names)]
    head = ["", "the whole job", *(escaped(phase_words(name)) for name in names)]
    spent = [whole, *(number(each.get("seconds")) for each in found)]
    sweeps = [number(prediction.get("sweeps")), *(number(each.get("sweeps")) for each in found)]
    rows = [["time", *map(seconds, spent)], ["sweeps", *map(_count, sweeps)]]
    for lane in ordered(job, LANES):
        cells = [_busy(column, lane) for column in columns]
        rows.append([escaped(lane_name(lane)), *cells])
    return table(head, rows, "phases")


def _busy(shares: dict[str, float], lane: str) -> str:
    share = shares.get(lane, 0.0)
    text = percent(share)
    return f"<b>{text}</b>" if share and share == max(shares.values()) else text


def comparison(plan: dict[str, Any], report: dict[str, Any]) -> str:
    """Predicted and measured side by side; "" where nothing is known of both.

    What only one of them tells is shown too, once the plan has a prediction.
    """
    stats = mapping(report, "stats")
    rows = [*_job_rows(plan, report), *_lane_rows(plan, stats), *_memory_rows(plan, stats)]
    if not any(predicted and measured for _, predicted, measured, _ in rows):
        return ""
    is_predicted = bool(mapping(plan, "prediction"))
    cells = [
        [escaped(name), show(predicted), show(measured), _difference(predicted, measured)]
        for name, predicted, measured, show in rows
        if predicted and measured or (is_predicted and (predicted or measured))
    ]
    return table(["", "predicted", "measured", "measured over predicted"], cells, "compared")


def strangers(plan: dict[str, Any], report: dict[str, Any]) -> list[str]:
    """In what the report's run differs from the plan; such figures cannot be compared."""
    engine = mapping(report, "engine")
    return [
        f"{name}: planned {shortened(plan[name], 60)}, ran {shortened(engine[name], 60)}"
        for name in _SAME_JOB
        if name in plan and name in engine and plan[name] != engine[name]
    ]


def _job_rows(plan: dict[str, Any], report: dict[str, Any]) -> list[Row]:
    predicted, stats = mapping(plan, "prediction"), mapping(report, "stats")
    rate, spent = number(report.get("tokens_per_second")), number(report.get("seconds"))
    return [
        ("tokens per second", number(predicted.get("tokens_per_second")), rate, digits),
        ("time of the job", number(predicted.get("seconds")), spent, seconds),
        ("sweeps", number(predicted.get("sweeps")), number(stats.get("sweeps")), _count),
    ]


def _lane_rows(plan: dict[str, Any], stats: dict[str, Any]) -> list[Row]:
    planned, ran = mapping(plan, "prediction", "lanes"), mapping(stats, "lanes")
    counted = mapping(stats, "predicted_bytes")  # what the run expected of its own sweeps
    rows: list[Row] = []
    for lane in ordered({**ran, **planned}, LANES):
        guess, found = mapping(planned, lane), mapping(ran, lane)
        busy = number(guess.get("seconds")), number(found.get("busy_seconds"))
        expected = number(guess.get("bytes")) or number(counted.get(lane))
        moved = expected, number(found.get("bytes"))
        rows.append((f"{lane_name(lane)}, busy", *busy, seconds))
        rows.append((f"{lane_name(lane)}, bytes", *moved, _size))
    return rows


def _memory_rows(plan: dict[str, Any], stats: dict[str, Any]) -> list[Row]:
    planned, ran = mapping(plan, "prediction", "peak_bytes"), mapping(stats, "peak_bytes")
    return [
        (f"{tier}, peak", number(planned.get(tier)), number(ran.get(tier)), _size)
        for tier in ordered(planned, TIERS)
    ]


def _size(value: float) -> str:
    return format_size(int(value))


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _difference(predicted: float, measured: float) -> str:
    if not predicted or not measured:
        return '<span class="bad">not predicted</span>' if measured else "not measured"
    share = measured / predicted - 1
    css = "good" if abs(share) <= _CLOSE else "bad"
    sign = "+" if share >= 0 else "\u2212"
    return f'<span class="{css}">{sign}{abs(share) * 100:.1f} %</span>'


def what_if(prediction: dict[str, Any]) -> str:
    """What each change would give; "" without such a list."""
    now = number(prediction.get("tokens_per_second"))
    changes = [
        (each.get("change"), number(each.get("tokens_per_second")))
        for each in objects(prediction.get("what_if"))[:_MOST_CHANGES]
    ]
    most = max([now, *(rate for _, rate in changes)], default=0.0)
    if not changes or not most:
        return ""
    rows = [["as planned", digits(now), "", _bar(now, most)]] if now else []
    for change, rate in changes:
        gain = _gain(now, rate) if now else ""
        rows.append([escaped(shortened(change, 160)), digits(rate), gain, _bar(rate, most)])
    return table(["change", "tokens/s", "gain", ""], rows, "changes")


def _gain(now: float, then: float) -> str:
    share = then / now - 1
    if abs(share) < 0.0005:
        return "none"
    return f"{'+' if share > 0 else chr(0x2212)}{abs(share) * 100:.1f} %"


def _bar(value: float, most: float) -> str:
    return f'<span class="bar" style="width:{value / most * 100:.1f}%"></span>'


def policy(plan: dict[str, Any]) -> str:
    """The policy's fields, shares as percentages; "" where there is none."""
    items = []
    for name, value in mapping(plan, "policy").items():
        shown = _shares(value) if isinstance(value, dict) else escaped(_plain(value))
        items.append(f"<div><dt>{escaped(name.replace('_', ' '))}</dt><dd>{shown}</dd></div>")
    return f"<dl>{''.join(items)}</dl>" if items else ""


def _shares(value: dict[str, Any]) -> str:
    shares = [(tier, number(value[tier])) for tier in ordered(value, TIERS)]
    return ", ".join(f"{share * 100:.0f} % {escaped(tier)}" for tier, share in shares if share)


def _plain(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value
