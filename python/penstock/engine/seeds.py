"""Seeds that depend on the row alone: not on the order of rows, nor on who runs beside them."""

from __future__ import annotations

import hashlib


def row_seed(base: int, key: bytes, completion: int = 0) -> int:
    """The 64-bit seed of completion `completion` of the row named `key` in a job seeded `base`.

    BLAKE2b over (base, completion, key): the same three give the same seed on any machine.
    """
    head = base.to_bytes(16, "little", signed=True) + completion.to_bytes(8, "little")
    digest = hashlib.blake2b(head + key, digest_size=8, person=b"penstock-seed")
    return int.from_bytes(digest.digest(), "little")


def completion_seeds(job_seed: int, row: int | None, key: bytes, n: int) -> list[int]:
    """The seeds of a row's `n` completions; a seed of the row's own replaces job seed and key."""
    base, name = (job_seed, b"row:" + key) if row is None else (row, b"own")
    return [row_seed(base, name, j) for j in range(n)]
