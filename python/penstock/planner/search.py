"""Everything that is a whole number, enumerated; the best few are run through."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from penstock.planner.early import early
from penstock.planner.polish import polish
from penstock.planner.shapes import candidates, sequence_counts, shape, sweep_sizes, variants
from penstock.planner.shares import best_shares
from penstock.planner.space import LANES, WAVES, Evaluation, NativePlanning, Space

_RUN_THROUGH = 8  # candidates
_FIRST = 4  # that are enumerated: with most rows in flight
_POLISHED = 3  # of their dry runs, and as many unlike those
_SECONDS = 3.5  # of work on the whole search, at most; see Space.worked
_LEAST_SECONDS = 0.3
_PART_OF_JOB = 0.02  # that a search may take
_PROGRAMS_PART = 0.5  # of the search, for the programs; then dry runs of the best, then polishing
_RUNS_PART = 0.36  # of what is left after the programs
_SHAPES = 24  # kept for what a change would give
_GROWN, _LARGER = 4, 3  # of them, with so many larger numbers of rows in flight


@dataclass(frozen=True)
class Choice:
    """A complete policy, its dry run, and the closed form's view of where it began.

    `shapes`: choices of whole numbers that the closed form holds for the best, best first, and
    `closed_seconds`: of the job with the first of them.
    """

    policy: dict[str, Any]
    evaluation: Evaluation
    prediction: dict[str, Any]
    tried: int  # linear programs
    seconds: float  # that the search took
    shapes: tuple[dict[str, Any], ...]
    closed_seconds: float
    slower: float  # than the fastest, for the sake of early results; a share of its time

    @property
    def text(self) -> str:
        """The policy as JSON text."""
        return json.dumps(self.policy)


def choose(
    native: NativePlanning,
    wanted: dict[str, Any] | None = None,
    effort: float | None = None,
    tell: Callable[[str], None] | None = None,
    early_results: bool = False,
) -> Choice | None:
    """The policy for a model, machine and workload; None when no policy was found to fit.

    `wanted`: fields of the policy that are the user's; they stay as they are. `effort`: what the
    search may take, in seconds of a usual processor; by default a small part of the job that it
    plans. The same arguments give the same policy everywhere. `tell`: hears what is being done.
    `early_results`: a long job gives up to a twentieth of its time for them.
    """
    begin = time.monotonic()
    space, fixed = Space(native), dict(wanted or {})
    say = tell or (lambda words: None)
    say("planning: where weights, keys and values may live")
    found, first, tried = _programs(space, fixed, effort)
    if first is None:
        return None
    say(f"planning: dry runs of the best of {tried}")
    best = [evaluation for _, evaluation in found]
    allowed = effort or _allowed_seconds(best[0].seconds)
    some = [best[0], first, *best[1:_RUN_THROUGH]]
    limit = space.worked + _RUNS_PART * (allowed - space.worked)
    runs = run_through(space, some, fixed, limit)
    polished = [
        (better, evaluation, run)
        for policy, evaluation, dry_run in _starts(runs)
        for better, run in [polish(space, (policy, dry_run), fixed, allowed)]
    ]
    fastest = min(polished, key=lambda run: run[2]["seconds"])
    policy, evaluation, dry_run = early(space, fastest, fixed) if early_results else fastest
    slower = dry_run["seconds"] / fastest[2]["seconds"] - 1
    shapes = tuple(candidate for candidate, _ in found[:_SHAPES])
    seconds = time.monotonic() - begin
    return Choice(policy, evaluation, dry_run, tried, seconds, shapes, best[0].seconds, slower)


def _programs(
    space: Space, fixed: dict[str, Any], effort: float | None
) -> tuple[list[tuple[dict[str, Any], Evaluation]], Evaluation | None, int]:
    """Whole numbers with the best shares for each, the fastest first; how many were tried.

    In the middle the fastest of those with most rows in flight, for which the closed form may be
    too hard.
    """
    found: list[tuple[dict[str, Any], Evaluation]] = []
    first: Evaluation | None = None
    tried, within = 0, math.inf
    for candidate in candidates(space, fixed):
        tried += 1
        best = best_shares(space, candidate, within)
        if best is not None:
            found.append((candidate, best[0]))
            found.sort(key=lambda each: each[1].seconds)
            first = found[0][1] if len(found) <= _FIRST else first
            if len(found) >= _SHAPES:
                within = found[_SHAPES - 1][1].seconds
        if not found:
            continue
        allowed = effort or _allowed_seconds(found[0][1].seconds)
        if space.worked > allowed * _PROGRAMS_PART:
            break
    return found, first, tried


def closed_seconds(
    native: NativePlanning, wanted: dict[str, Any], shapes: tuple[dict[str, Any], ...]
) -> float | None:
    """The closed form's seconds of the job with the best of these shapes and of larger ones."""
    space = Space(native)
    best = math.inf
    for candidate in [*shapes, *_larger(space, wanted, shapes[:_GROWN])]:
        found = best_shares(space, candidate, best)
        best = min(best, found[0].seconds if found is not None else math.inf)
    return best if best < math.inf else None


def _larger(
    space: Space, fixed: dict[str, Any], shapes: tuple[dict[str, Any], ...]
) -> Iterator[dict[str, Any]]:
    """The same launches with more rows in flight."""
    for like in shapes:
        counts = [n for n in sequence_counts(space, fixed) if n > like["max_sequences"]]
        for sequences in counts[-_LARGER:]:
            for tokens in sweep_sizes(space, sequences):
                choice = shape(space, fixed, sequences, (like["micro_batch_tokens"], tokens))
                if choice is not None:
                    hosted = {k: like[k] for k in ("host_attention",) if k in like}
                    yield {**choice, **hosted}


def _starts(
    runs: list[tuple[dict[str, Any], Evaluation, dict[str, Any]]],
) -> list[tuple[dict[str, Any], Evaluation, dict[str, Any]]]:
    """The fastest, and the fastest unlike them: in rows in flight, or in where attention is."""
    unlike: dict[tuple[Any, Any], int] = {}
    for place, (policy, _, _) in enumerate(runs):
        unlike.setdefault((policy["max_sequences"], policy.get("host_attention")), place)
    places = dict.fromkeys([*range(min(_POLISHED, len(runs))), *list(unlike.values())[:_POLISHED]])
    return [runs[place] for place in places]


def _allowed_seconds(job: float) -> float:
    return min(_SECONDS, max(_LEAST_SECONDS, _PART_OF_JOB * job))


def run_through(
    space: Space, found: list[Evaluation], fixed: dict[str, Any], limit: float
) -> list[tuple[dict[str, Any], Evaluation, dict[str, Any]]]:
    """Dry runs of these and their variants, as far as the work may go; the fastest first."""
    runs: list[tuple[float, int, dict[str, Any], Evaluation, dict[str, Any]]] = []
    for evaluation in found:
        for policy in variants(space, evaluation, fixed):
            if runs and space.worked > limit:
                break
            dry_run = space.sketch(policy, WAVES * int(policy["max_sequences"]))
            runs.append((dry_run["seconds"], len(runs), policy, evaluation, dry_run))
    return [run[2:] for run in sorted(runs, key=lambda run: run[:2])]


def bottleneck(evaluation: Evaluation) -> str:
    """The lane that takes longest in the phase that takes longest."""
    phases = range(len(evaluation.sweeps))
    longest = max(phases, key=lambda p: evaluation.sweeps[p] * max(evaluation.lanes[p]))
    lanes = evaluation.lanes[longest]
    return LANES[lanes.index(max(lanes))]
