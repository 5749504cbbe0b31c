"""Everything that is a whole number, enumerated; the best few are run through."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from penstock.planner.polish import polish
from penstock.planner.shares import best_shares
from penstock.planner.space import LANES, WAVES, Evaluation, NativePlanning, Space

_MOST_SEQUENCES = 4096
_MOST_SWEEP_TOKENS = 1 << 15
_BATCH_TOKENS = {False: (32, 64, 128, 256, 512), True: (64, 128, 256, 512, 1024, 2048)}
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
_FIXED = ("micro_batch", "micro_batches", "prefill_chunk", "admission", "lookahead", "threads")


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

    @property
    def text(self) -> str:
        """The policy as JSON text."""
        return json.dumps(self.policy)


def choose(
    native: NativePlanning,
    wanted: dict[str, Any] | None = None,
    effort: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Choice | None:
    """The policy for a model, machine and workload; None when no policy was found to fit.

    `wanted`: fields of the policy that are the user's; they stay as they are. `effort`: what the
    search may take, in seconds of a usual processor; by default a small part of the job that it
    plans. The same arguments give the same policy everywhere. `tell`: hears what is being done.
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
    policy, evaluation, dry_run = min(polished, key=lambda run: run[2]["seconds"])
    shapes = tuple(candidate for candidate, _ in found[:_SHAPES])
    seconds = time.monotonic() - begin
    return Choice(policy, evaluation, dry_run, tried, seconds, shapes, best[0].seconds)


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


def candidates(space: Space, fixed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Choices of whole numbers, the most promising (many rows, large launches) first."""
    accelerator = bool(space.facts["accelerator"])
    attention = [fixed["host_attention"]] if "host_attention" in fixed else [False, True]
    for sequences in sequence_counts(space, fixed):
        for hosted in attention if accelerator else [None]:
            for tokens in sweep_sizes(space, sequences):
                for rows in _BATCH_TOKENS[accelerator]:
                    choice = shape(space, fixed, sequences, (rows, tokens))
                    if choice is None:
                        continue
                    if hosted is not None:
                        choice["host_attention"] = hosted
                    yield choice


def sequence_counts(space: Space, fixed: dict[str, Any]) -> list[int]:
    """Rows in flight, from many to one."""
    rows = int(space.facts["rows"]) or _MOST_SEQUENCES
    if "max_sequences" in fixed:
        return [int(fixed["max_sequences"])]
    if "micro_batch" in fixed and "micro_batches" in fixed:
        sweep = int(fixed["micro_batch"]) * int(fixed["micro_batches"])
        return [min(rows, sweep * int(space.facts["sweeps"]))]
    most = min(rows, _MOST_SEQUENCES)
    counts = {most}
    count = 1.0
    while count < most:
        counts.add(round(count))
        count *= 1.5 if most <= 256 else 1.8
    return sorted(counts, reverse=True)


def sweep_sizes(space: Space, sequences: int) -> list[int]:
    """Tokens that a sweep may carry: what decoding rows need, and room for prompts."""
    sequences = space.of_a_sweep(sequences)
    prompt, fresh = int(space.facts["prompt"]), int(space.facts["fresh"])
    steady = sequences * (prompt + fresh) // fresh * 5 // 4
    most = max(sequences, min(sequences * prompt, _MOST_SWEEP_TOKENS))
    sizes = {max(sequences, min(size, most)) for size in (sequences, steady, 4 * steady, most)}
    return sorted(sizes, reverse=True)


def shape(
    space: Space, fixed: dict[str, Any], sequences: int, launch: tuple[int, int]
) -> dict[str, Any] | None:
    """A policy without shares: `launch` is (rows of one, tokens of a sweep)."""
    rows, tokens = launch
    choice = dict(fixed)
    choice["max_sequences"] = sequences
    sequences = space.of_a_sweep(sequences)
    if "micro_batches" not in fixed:
        if rows > tokens and rows > 2 * _BATCH_TOKENS[bool(space.facts["accelerator"])][0]:
            if rows >= 2 * tokens:
                return None  # a smaller launch carries the same
        choice.setdefault("micro_batch", min(sequences, rows))
        needed = max(math.ceil(sequences / choice["micro_batch"]), math.ceil(tokens / rows))
        choice["micro_batches"] = needed
    choice.setdefault("micro_batch_tokens", max(rows, int(choice.get("prefill_chunk", 1))))
    return choice


def variants(
    space: Space, evaluation: Evaluation, fixed: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What the closed form does not tell apart: how rows are let in, and how they are grouped."""
    for grouped in _grouped(space, evaluation, fixed):
        yield from _paced(space, evaluation, grouped, fixed)


def _grouped(
    space: Space, evaluation: Evaluation, fixed: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Where the host attends, it works on one launch's rows while the device has another's."""
    policy = evaluation.policy
    sequences = space.of_a_sweep(int(policy["max_sequences"]))
    rows = int(policy["micro_batch_tokens"])
    if policy.get("host_attention") and not {"micro_batch", "micro_batches"} & set(fixed):
        prompts = max(0, int(policy["micro_batches"]) - math.ceil(sequences / rows))
        for launches in (4, 2, 8):
            group = math.ceil(sequences / launches)
            if group >= int(policy["micro_batch"]):
                continue
            split = {**policy, "micro_batch": group, "micro_batches": launches + prompts}
            if space.evaluate(split).fits:
                yield split
    yield policy


def _paced(
    space: Space, evaluation: Evaluation, policy: dict[str, Any], fixed: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """As it is, and with rows let in steadily, where they take turns."""
    rows = int(space.facts["rows"]) or _MOST_SEQUENCES
    sequences = int(policy["max_sequences"])
    if "pace" in fixed or fixed.get("admission") == "block" or rows <= sequences:
        yield policy
        return
    steady = evaluation.lanes[1]
    compute, stream = steady[0], max(steady[1:])
    prompt, fresh = float(space.facts["prompt"]), float(space.facts["fresh"])
    most = int(policy["micro_batches"]) * int(policy["micro_batch_tokens"])
    entering = space.of_a_sweep(sequences) * prompt / fresh  # as many as leave
    paces = {math.floor(entering), math.floor(0.8 * entering)}
    if compute > 0 and stream > 0:
        balance = stream / compute * entering
        paces |= {int(factor * balance) for factor in (1.0, 1.5)}
    for pace in sorted(paces):
        if 1 <= pace < most:
            yield {**policy, "pace": pace}
    yield policy


def bottleneck(evaluation: Evaluation) -> str:
    """The lane that takes longest in the phase that takes longest."""
    phases = range(len(evaluation.sweeps))
    longest = max(phases, key=lambda p: evaluation.sweeps[p] * max(evaluation.lanes[p]))
    lanes = evaluation.lanes[longest]
    return LANES[lanes.index(max(lanes))]
