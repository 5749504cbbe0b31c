"""What is coming: how many rows, and how long they are. Engines are planned for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The most tokens that any row may have; no engine's context is that long.
TO_THE_END = 1 << 24
# What a row without max_tokens is expected to generate before it ends by itself. Rows that go on
# for longer get their memory as they grow.
EXPECTED_NEW = 256


@dataclass(frozen=True)
class Workload:
    """What is coming, for the policy; zeros: unknown. Lengths are tokens.

    `early_results`: each result is kept as soon as it is there, so that the first ones of a long
    job should come early.
    """

    expected_rows: int = 0
    mean_prompt: int = 0
    max_prompt: int = 0
    mean_new: int = 0
    max_new: int = 0
    early_results: bool = False

    @classmethod
    def uniform(cls, rows: int, prompt: int, new: int) -> Workload:
        """Rows that are all alike."""
        return cls(rows, prompt, prompt, new, new)

    @classmethod
    def of_rows(cls, lengths: Sequence[int], new: Sequence[int | None]) -> Workload:
        """Rows with these prompt lengths and limits of new tokens, None: the context's end."""
        count = max(1, len(lengths))
        expected = [EXPECTED_NEW if limit is None else limit for limit in new]
        limits = [TO_THE_END if limit is None else limit for limit in new]
        return cls(
            expected_rows=len(lengths),
            mean_prompt=-(-sum(lengths) // count),
            max_prompt=max(lengths, default=0),
            mean_new=-(-sum(expected) // count),
            max_new=max(limits, default=0),
        )

    @property
    def is_open(self) -> bool:
        """Whether some row may go on to the end of the context."""
        return self.max_new >= TO_THE_END
