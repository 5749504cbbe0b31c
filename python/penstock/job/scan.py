"""The first pass over a job's input: digest, number of rows, duplicate ids, a sample of lines.

Memory per line is one byte of state and, until the pass is over, 8 bytes of hash: a 64-bit hash of
ids finds duplicates, so that among ten million rows one is called a duplicate wrongly with a
probability below 1e-5.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from penstock.errors import InvalidArgumentError, NotFoundError, PenstockError, StorageError
from penstock.job.rows import MAX_LINE_BYTES, id_key, read_line, row_id

# States of a line; DUPLICATE is added to one of them.
PENDING, DONE, FAILED, BLANK = 0, 1, 2, 3
DUPLICATE = 16

SAMPLES, MAX_SAMPLE_BYTES = 256, 64 << 10
_BOM = b"\xef\xbb\xbf"
_CHUNK_BYTES = 1 << 20


@dataclass
class InputScan:
    """What the first pass found. ``states`` has one byte per line, ``hashes`` one id per line."""

    size: int
    sha256: str
    states: bytearray
    longest_bytes: int
    hashes: array[int]
    samples: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Lines that are rows."""
        return len(self.states) - self.states.count(BLANK)


def open_input(path: Path) -> BinaryIO:
    """Opens a regular file for reading; raises NotFound-, InvalidArgument- or StorageError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", file=str(path)) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", file=str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidArgumentError(f"{path}: not a regular file", file=str(path), field="input")
    return os.fdopen(descriptor, "rb", buffering=_CHUNK_BYTES)


def _pieces(file: BinaryIO) -> Iterator[tuple[bytes, bool, bool]]:
    """Bytes, and whether they begin and end a line; only too long lines have several."""
    is_first = True
    while raw := file.readline(MAX_LINE_BYTES):
        is_last = raw.endswith(b"\n") or len(raw) < MAX_LINE_BYTES
        yield raw, is_first, is_last
        is_first = is_last


def read_rows(file: BinaryIO, digest: Any = None) -> Iterator[tuple[int, bytes | None]]:
    """Number (from 1) and content of each line, blank ones included; None is a line too long.

    `digest` is updated with all bytes read.
    """
    line = 0
    for raw, is_first, is_last in _pieces(file):
        if digest is not None:
            digest.update(raw)
        if is_first:
            line += 1
            content = raw.removeprefix(_BOM) if line == 1 else raw
            yield line, content.rstrip(b"\r\n") if is_last else None


def hash_id(key: bytes) -> int:
    """64 bits of an id; never 0, which stands for a line without one."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") or 1


def scan_input(path: Path) -> InputScan:
    """Reads the whole input once."""
    digest, states, hashes = hashlib.sha256(), bytearray(), array("Q")
    samples, longest = _Sampler(), 0
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        for line, content in read_rows(file, digest):
            is_blank = content is not None and not content.strip()
            states.append(BLANK if is_blank else PENDING)
            hashes.append(0 if is_blank else _line_hash(content))
            if content and not is_blank:
                longest = max(longest, len(content))
                samples.add(line, content)
    _mark_duplicates(hashes, states)
    return InputScan(size, digest.hexdigest(), states, longest, hashes, samples.kept)


class _Sampler:
    """Keeps a fair sample of the rows seen so far."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, bytes]] = []
        self._seen, self._random = 0, random.Random(0)

    def add(self, line: int, content: bytes) -> None:
        if len(content) > MAX_SAMPLE_BYTES:
            return
        self._seen += 1
        if len(self.kept) < SAMPLES:
            self.kept.append((line, content))
        elif (place := self._random.randrange(self._seen)) < SAMPLES:
            self.kept[place] = (line, content)


def _line_hash(content: bytes | None) -> int:
    try:
        return hash_id(id_key(row_id(read_line(content))))
    except PenstockError:
        return 0


def _mark_duplicates(hashes: array[int], states: bytearray) -> None:
    """Flags the lines whose id an earlier line has."""
    import numpy as np

    values = np.frombuffer(hashes, dtype=np.uint64)
    ordered = np.sort(values)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    lines = np.flatnonzero(np.isin(values, repeated[repeated != 0]))
    order = lines[np.argsort(values[lines], kind="stable")]
    again = order[1:][values[order[1:]] == values[order[:-1]]]
    np.frombuffer(states, dtype=np.uint8)[again] |= DUPLICATE
