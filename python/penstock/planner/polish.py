"""The end of the search: one whole number at a time, for as long as the dry run gets faster."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from penstock.planner.space import KINDS, WAVES, Space

_MOVED = (
    *("micro_batch", "micro_batch_tokens", "prefill_chunk"),
    *("pace", "max_sequences", "micro_batches", "kv_share"),
)
_FACTORS = (0.5, 0.8, 1.25, 2.0)
_LEAST_GAIN = 0.002  # of the job's time, for a step to be taken


def polish(
    space: Space,
    found: tuple[dict[str, Any], dict[str, Any]],
    fixed: dict[str, Any],
    limit: float,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy and its dry run that are no slower than those found; both fit.

    `fixed`: fields that are the user's. `limit`: of ``space.worked``, when
    the search ends.
    """
    policy, dry_run = found
    seen = {_key(policy)}
    improved = True
    while improved:
        improved = False
        for moves in (_moves(space, policy, name, fixed) for name in _MOVED if name not in fixed):
            for changed in moves:
                if _key(changed) in seen:
                    continue
                seen.add(_key(changed))
                if space.worked > limit:
                    return policy, dry_run
                better = _better(space, changed, dry_run["seconds"])
                if better is not None:
                    policy, dry_run = better
                    improved = True
    return policy, dry_run


def _key(policy: dict[str, Any]) -> str:
    return json.dumps([policy.get(name) for name in _MOVED], sort_keys=True)


def _better(
    space: Space, changed: dict[str, Any], seconds: float
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    found = space.evaluate(changed)
    if not found.fits:
        return None
    policy = found.policy | {kind: changed[kind] for kind in KINDS}
    dry_run = space.sketch(policy, WAVES * int(policy["max_sequences"]))
    return (policy, dry_run) if dry_run["seconds"] < seconds * (1 - _LEAST_GAIN) else None


def _moves(
    space: Space, policy: dict[str, Any], name: str, fixed: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The policy with one number smaller and larger, and what has to go with it."""
    if name == "kv_share":
        roomy = [tier for tier in space.tiers if space.facts["budget_bytes"][tier] > 0]
        yield from ({**policy, name: {tier: 1.0}} for tier in roomy)
        return
    if name == "pace" and policy.get("admission") == "block":
        return
    now = int(policy.get(name) or policy["prefill_chunk"])
    steps = [round(factor * now) for factor in _FACTORS] + [now - 1, now + 1]
    for value in dict.fromkeys(steps):
        if value < 1:
            continue
        changed = {**policy, name: value}
        sequences = space.of_a_sweep(changed["max_sequences"])
        changed["micro_batch"] = min(changed["micro_batch"], sequences)
        changed["micro_batch_tokens"] = max(changed["micro_batch_tokens"], changed["micro_batch"])
        needed = math.ceil(sequences / changed["micro_batch"])
        changed["micro_batches"] = max(changed["micro_batches"], needed)
        if all(changed[kept] == policy.get(kept) for kept in fixed if kept in _MOVED):
            yield changed
