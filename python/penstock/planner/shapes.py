"""Choices of whole numbers, and the variants of one that the closed form does not tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from penstock.planner.space import Evaluation, Space

_MOST_SEQUENCES = 4096
_MOST_SWEEP_TOKENS = 1 << 15
_BATCH_TOKENS = {False: (32, 64, 128, 256, 512), True: (64, 128, 256, 512, 1024, 2048)}


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
