"""First results early: fewer rows in flight, where that costs next to nothing.

Rows that are in flight together finish together. Where a job's rows all fit, that is at its end,
and a job that is killed before has nothing. With a part of them in flight at a time, each wave's
results are there when it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from penstock.planner.shapes import shape, sweep_sizes, variants
from penstock.planner.shares import best_shares
from penstock.planner.space import Evaluation, Space

LONG_SECONDS = 600.0  # a shorter job is as soon begun again
MOST_COST = 0.05  # of the job's predicted time
_LITTLE_COST = 0.01  # with which nothing cheaper is looked for
_BY = 1 / 3  # of the job, a tenth of its rows should have their results
_WAVES = (4, 6, 3, 2)
_PACES = 2  # the highest; low ones leave sweeps half empty
_SECONDS = 1.5  # of work, at most; see Space.worked

Run = tuple[dict[str, Any], Evaluation, dict[str, Any]]


def early(space: Space, found: Run, fixed: dict[str, Any]) -> Run:
    """The cheapest plan with its first results in the first third of the job.

    Where none is within the cost, the one with the earliest that is; `found` where it is no later
    than that, or the job is short. `fixed`: fields of the policy that are the user's.
    """
    dry_run = found[2]
    rows = int(space.facts["rows"])
    is_late = dry_run["first_results_seconds"] > _BY * dry_run["seconds"]
    if not is_late or dry_run["seconds"] < LONG_SECONDS or "max_sequences" in fixed or rows < 2:
        return found
    limit = space.worked + _SECONDS
    within = (1 + MOST_COST) * dry_run["seconds"]
    tried: list[Run] = []
    for policy, evaluation in _smaller(space, found, fixed):
        run = space.sketch(policy, rows)
        if run["seconds"] <= within:
            tried.append((policy, evaluation, run))
        if space.worked > limit or _is_cheap(run, dry_run["seconds"]):
            break
    in_time = [run for run in tried if _is_in_time(run[2])]
    if in_time:
        return min(in_time, key=lambda run: run[2]["seconds"])
    return min([found, *tried], key=lambda run: run[2]["first_results_seconds"])


def _is_in_time(dry_run: dict[str, Any]) -> bool:
    return bool(dry_run["first_results_seconds"] <= _BY * dry_run["seconds"])


def _is_cheap(dry_run: dict[str, Any], seconds: float) -> bool:
    return _is_in_time(dry_run) and dry_run["seconds"] <= (1 + _LITTLE_COST) * seconds


def _smaller(
    space: Space, found: Run, fixed: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], Evaluation]]:
    """Plans with a part of the rows in flight, and what they do with the memory that is left."""
    policy, rows = found[0], int(space.facts["rows"])
    hosted = {name: policy[name] for name in ("host_attention",) if name in policy}
    for waves in _WAVES:
        sequences = math.ceil(rows / waves)
        if sequences >= int(policy["max_sequences"]):
            continue
        shapes = (
            shape(space, fixed, sequences, (min(int(policy["micro_batch_tokens"]), tokens), tokens))
            for tokens in sweep_sizes(space, sequences)
        )
        filled = [best_shares(space, {**each, **hosted}) for each in shapes if each is not None]
        fitting = [each[0] for each in filled if each is not None]
        if fitting:
            best = min(fitting, key=lambda evaluation: evaluation.seconds)
            kinds = [*variants(space, best, fixed)][-1 - _PACES :]
            yield from ((each, best) for each in reversed(kinds))
