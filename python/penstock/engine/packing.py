"""How far the weights are packed, now and then: for whoever waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.util.sizes import format_size

# Called while weights are quantised into the cache, with bytes done and bytes in all.
Packing = Callable[[int, int], None]

_SECONDS_BETWEEN = 5.0
_BYTES_PACKED_AT_ONCE = 64 << 20  # takes less than a second


class PackingPace:
    """Passes on the beginning, the end, and something every few seconds between.

    Weights that are packed within a second are not worth a word.
    """

    def __init__(self, hears: Packing) -> None:
        self._hears, self._heard_at = hears, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Takes bytes done and bytes in all."""
        now = time.monotonic()
        soon = 0 < done < total and now - self._heard_at < _SECONDS_BETWEEN
        if soon or total < _BYTES_PACKED_AT_ONCE:
            return
        self._heard_at = now
        self._hears(done, total)


def packing_text(done: int, total: int) -> str:
    """One line: how far the weights are packed."""
    return f"packing the weights: {format_size(done)} of {format_size(total)}"
