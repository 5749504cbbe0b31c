"""The page from top to bottom; what a plan does not hold is left out."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from penstock.page.gantt import busy_shares, gantt, label_colours, read_steps, zoomed
from penstock.page.links import links_chart
from penstock.page.measured import measured_sweep
from penstock.page.memory import memory_chart
from penstock.page.roofline import roofline_chart
from penstock.page.style import style
from penstock.page.tables import (
    comparison,
    phase_shares,
    phase_words,
    phases,
    policy,
    strangers,
    what_if,
)
from penstock.page.tiers import tensors_chart
from penstock.page.values import (
    digits,
    escaped,
    mapping,
    moment,
    number,
    seconds,
    shortened,
    text,
)


def plan_page(
    plan: dict[str, Any],
    report: dict[str, Any] | None = None,
    trace: dict[str, Any] | None = None,
    start: datetime | None = None,
) -> str:
    """HTML of a plan (``penstock plan``'s JSON) and, beside it, of a run's report and trace.

    Without a "prediction" in the plan the page shows what remains. `start`: when the job might
    begin; the page then says when it would be finished.
    """
    prediction = mapping(plan, "prediction")
    parts = [
        _headline(plan, prediction, start),
        _section("Which lane works when", phases(prediction), _PHASES),
        _chart("Tensors by tier", tensors_chart(prediction), "Where the bytes of each group live."),
        _chart("Memory by tier", memory_chart(plan), _memory_words(prediction)),
        _sweep(prediction),
        _measured(trace),
        _chart("Bytes per link", links_chart(prediction), _LINKS),
        _chart("Roofline", roofline_chart(prediction), _ROOFLINE),
        _compared(plan, report),
        _section("What would change it", what_if(prediction), _CHANGES),
        _section("Policy", policy(plan)),
    ]
    version = escaped(plan.get("version"))
    title = escaped(f"Plan: {_model(plan)}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{style()}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<footer>Penstock {version}</footer>\n</main></body></html>\n"
    )


_LINKS = "What the whole job moves over each link, and how long each lane works at it."
_ROOFLINE = (
    "The dotted line is the rate of the sweep. Each link has a point on it; how far it lies below "
    "its roof is the room that link has left."
)
_CHANGES = "The same job, planned again with one thing changed."
_PHASES = (
    "How busy each lane is, of the time of the whole job and of its phases. The busiest lane of a "
    "column decides how long that takes."
)
_MEASURED = "A sweep as it ran"
_SHARES = "Beside a lane, how busy it is in this sweep."
_SWEEP = "Every layer once for every micro-batch. A gap is a lane that waits."


def _memory_words(prediction: dict[str, Any]) -> str:
    budget = " The upright line is the budget." if mapping(prediction, "budget_bytes") else ""
    return f"What the engine will allocate, by label.{budget}"


def _model(plan: dict[str, Any]) -> str:
    name = text(plan.get("model")) or "a model"
    return shortened(PurePath(name).name or name, 80)


def _headline(plan: dict[str, Any], prediction: dict[str, Any], start: datetime | None) -> str:
    device = text(plan.get("device"))
    on = f" on {escaped(shortened(device, 60))}" if device else ""
    full = escaped(plan.get("model"))
    parts = [f'<h1 title="{full}">{escaped(_model(plan))}{on}</h1><p>{_facts(plan)}</p>']
    cards = _cards(prediction)
    if cards:
        parts.append(f'<div class="cards">{cards}</div>')
    parts.append(_finish(prediction, start))
    bottleneck = text(prediction.get("bottleneck") if prediction else plan.get("why"))
    if bottleneck:
        bottleneck = bottleneck[:1].upper() + bottleneck[1:]
        parts.append(f'<p class="lead">{escaped(bottleneck)}</p>')
    warnings = plan.get("warnings")
    for warning in warnings[:20] if isinstance(warnings, list) else []:
        parts.append(f'<p class="note">{escaped(warning)}</p>')
    return f"<header>{''.join(parts)}</header>"


def _facts(plan: dict[str, Any]) -> str:
    found = []
    if number(plan.get("parameters")):
        found.append(f"{_parameters(number(plan.get('parameters')))} parameters")
    for name, words in (("weights", "weights"), ("kv", "KV cache")):
        if plan.get(name):
            found.append(f"{escaped(shortened(plan[name], 40))} {words}")
    chosen = mapping(plan, "policy")
    if number(chosen.get("micro_batch")):
        found.append(
            f"{number(chosen.get('micro_batches')):.0f} micro-batches of "
            f"{number(chosen.get('micro_batch')):.0f}"
        )
    return ", ".join(found)


def _parameters(count: float) -> str:
    return f"{digits(count / 1e9)} B" if count >= 1e9 else f"{digits(count / 1e6)} M"


def _cards(prediction: dict[str, Any]) -> str:
    rate, spent = number(prediction.get("tokens_per_second")), number(prediction.get("seconds"))
    sweeps = number(prediction.get("sweeps"))
    cards = [
        ("first", digits(rate) if rate else "", "tokens per second, predicted"),
        ("", seconds(spent) if spent else "", "for the job"),
        ("", f"{sweeps:,.0f}" if sweeps else "", "sweeps"),
    ]
    return "".join(
        f'<div class="{css}"><b>{value}</b><span>{words}</span></div>'
        for css, value, words in cards
        if value
    )


def _finish(prediction: dict[str, Any], start: datetime | None) -> str:
    """When the job would be over; "" without a time to begin, or where it takes for ever."""
    spent = number(prediction.get("seconds"))
    if start is None or not spent:
        return ""
    try:
        end = start + timedelta(seconds=spent)
    except OverflowError:
        return ""
    text = f"If started at {moment(start)}, finished at {moment(end)}."
    return f'<p class="finish">{escaped(text)}</p>'


def _section(title: str, body: str, words: str = "") -> str:
    paragraph = f"<p>{escaped(words)}</p>" if words else ""
    return f"<section><h2>{title}</h2>{paragraph}{body}</section>" if body else ""


def _chart(title: str, svg: str, words: str) -> str:
    return _section(title, f'<div class="chart">{svg}</div>' if svg else "", words)


def _sweep(prediction: dict[str, Any]) -> str:
    sweep = mapping(prediction, "sweep")
    steps = read_steps(sweep)
    whole = max([number(sweep.get("seconds")), *(step.end for step in steps)], default=0.0)
    if not steps or not whole:
        return ""
    css = label_colours(steps)
    window = (0.0, whole)
    name = text(sweep.get("phase"))
    shares = phase_shares(prediction, name)
    words = f"{_SWEEP} It takes {seconds(whole)}."
    if shares:
        words += f" A sweep in which {phase_words(name)}. "
        words += "Beside a lane: how busy it is in all such sweeps."
    else:
        shares = busy_shares(steps, window)
    body = f'<div class="chart">{gantt(steps, window, css, shares)}</div>'
    close = zoomed(steps)
    chart = gantt(steps, close, css) if close else ""
    if chart:
        body += f'<h3>Three layers of it, close up</h3><div class="chart">{chart}</div>'
    return _section("The sweep, lane by lane", body, words)


def _measured(trace: dict[str, Any] | None) -> str:
    if trace is None:
        return ""
    steps = measured_sweep(trace)
    if not steps:
        return _section(_MEASURED, "<p>The trace holds no whole sweep.</p>")
    whole, css = max(step.end for step in steps), label_colours(steps)
    middle = (whole * 7 / 16, whole * 9 / 16)
    shares = busy_shares(steps, (0.0, whole))
    body = f'<div class="chart">{gantt(steps, (0.0, whole), css, shares)}</div>'
    body += (
        f'<h3>An eighth of it, close up</h3><div class="chart">{gantt(steps, middle, css)}</div>'
    )
    return _section(
        _MEASURED,
        body,
        f"From the run's trace: the sweep of median length, {seconds(whole)}. {_SHARES}",
    )


def _compared(plan: dict[str, Any], report: dict[str, Any] | None) -> str:
    if report is None:
        return ""
    notes = "".join(f'<p class="note">{escaped(each)}</p>' for each in strangers(plan, report))
    found = comparison(plan, report)
    if not found:
        found = "<p>The report and the plan have no figure in common.</p>"
    words = "The report of a run beside this plan. Within 15 % counts as good."
    return _section("Predicted and measured", notes + found, words)
