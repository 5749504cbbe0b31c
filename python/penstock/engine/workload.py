"""What is coming: how many rows, and how long they are. Engines are planned for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """What is coming, for the policy; zeros: unknown. Lengths are tokens."""

    expected_rows: int = 0
    mean_prompt: int = 0
    max_prompt: int = 0
    mean_new: int = 0
    max_new: int = 0

    @classmethod
    def uniform(cls, rows: int, prompt: int, new: int) -> Workload:
        """Rows that are all alike."""
        return cls(rows, prompt, prompt, new, new)

    @classmethod
    def of_rows(cls, lengths: Sequence[int], new: Sequence[int]) -> Workload:
        """Rows with these prompt lengths and limits of new tokens."""
        count = max(1, len(lengths))
        return cls(
            expected_rows=len(lengths),
            mean_prompt=-(-sum(lengths) // count),
            max_prompt=max(lengths, default=0),
            mean_new=-(-sum(new) // count),
            max_new=max(new, default=0),
        )
