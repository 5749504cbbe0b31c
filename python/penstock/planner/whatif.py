"""What a little more of something would buy: the plan, made again with one thing changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.planner.search import Choice, closed_seconds

_GIB = 1 << 30
_GB = 1e9
# The next smaller format of weights, and of keys and values.
_SMALLER = {"auto": "int8", "fp32": "bf16", "bf16": "int8", "fp16": "int8", "int8": "int4"}


def what_if(
    core: Any, options_of: Callable[..., Any], plan: tuple[Choice, float], wanted: dict[str, Any]
) -> list[dict[str, Any]]:
    """Tokens a second after each change; `options_of(**changes)` makes native options.

    `plan` is what was chosen, and its tokens a second. They grow with the ratio of the closed
    forms, old and new, each with its best shape. More memory also has `marginal_seconds`: what
    the linear program's dual value of it promises for the first bytes, in seconds of the job per
    GiB.
    """
    choice, rate = plan
    machine = json.loads(core.Planning(options_of()).facts())["machine"]
    answers: list[dict[str, Any]] = []
    for change in _changes(options_of, machine):
        other = closed_seconds(core.Planning(change.options), wanted, choice.shapes)
        if other is None:
            continue
        faster = rate * choice.closed_seconds / other
        answers.append({"change": change.words, "tokens_per_second": faster})
        if change.tier and choice.evaluation.worth:
            places = choice.evaluation.places_of(change.tier)
            worth = sum(choice.evaluation.worth[place] for place in places)
            answers[-1]["marginal_seconds"] = max(0.0, worth) * _GIB
    return answers


@dataclass(frozen=True)
class _Change:
    """What is changed, in words; the options with it; the tier it makes larger, if any."""

    words: str
    options: Any
    tier: str = ""


def _changes(options_of: Callable[..., Any], machine: dict[str, Any]) -> list[_Change]:
    plain = options_of()
    changes = []
    if str(plain.device).split(":")[0] != "cpu":
        given = plain.device_memory or [0]
        more = options_of(device_memory=[(each or _GIB) + _GIB for each in given])
        changes.append(_Change("one more GiB of device memory", more, "device"))
    if plain.host_memory:
        more = options_of(host_memory=plain.host_memory + _GIB)
        changes.append(_Change("one more GiB of host memory", more, "host"))
    rate = machine["disk_read_bytes_per_second"]
    faster = {**machine, "disk_read_bytes_per_second": rate + _GB}
    changes.append(_Change("one more GB/s of disk", options_of(machine=json.dumps(faster))))
    for name, words in (("weights", "weights"), ("kv", "KV cache")):
        smaller = _SMALLER.get(str(getattr(plain, name)))
        if smaller is not None:
            changes.append(_Change(f"{smaller} {words}", options_of(**{name: smaller})))
    return changes
