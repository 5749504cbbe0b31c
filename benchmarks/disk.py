"""Disk reads: a sequential O_DIRECT probe, and what the kernel counts for a device."""

import itertools
import mmap
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20
DEPTH = 16
_ROUNDS = 5
_SECONDS_A_ROUND = 1.5


class _Reader:
    """Reads whole blocks of some files in order, `DEPTH` at a time, from where it stopped."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._handles = [os.open(file, os.O_RDONLY | os.O_DIRECT) for file in files]
        self._blocks = itertools.cycle(self._all_blocks())
        self._lock = threading.Lock()
        self._failure: OSError | None = None

    def _all_blocks(self) -> list[tuple[int, int]]:
        blocks = []
        for handle in self._handles:
            count = os.fstat(handle).st_size // BLOCK_BYTES
            blocks += [(handle, index * BLOCK_BYTES) for index in range(count)]
        if not blocks:
            raise ValueError(f"the files to probe are smaller than {BLOCK_BYTES} bytes")
        return blocks

    def rate(self, seconds: float) -> float:
        """Bytes per second over about that time."""
        counts = [0] * DEPTH
        deadline = time.monotonic() + seconds
        begin = time.monotonic()
        workers = [
            threading.Thread(target=self._work, args=(counts, index, deadline))
            for index in range(DEPTH)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._failure is not None:
            raise self._failure
        return sum(counts) / (time.monotonic() - begin)

    def _work(self, counts: list[int], index: int, deadline: float) -> None:
        with mmap.mmap(-1, BLOCK_BYTES) as buffer:
            try:
                while time.monotonic() < deadline:
                    with self._lock:
                        handle, offset = next(self._blocks)
                    counts[index] += os.preadv(handle, [buffer], offset)
            except OSError as error:
                self._failure = error

    def close(self) -> None:
        for handle in self._handles:
            os.close(handle)


def probe(files: Sequence[Path]) -> dict[str, Any]:
    """Sequential O_DIRECT reads of 1 MiB, 16 at a time: median of rounds, bytes per second."""
    reader = _Reader(files)
    try:
        rates = [reader.rate(_SECONDS_A_ROUND) for _ in range(_ROUNDS)]
    finally:
        reader.close()
    return {
        "bytes_per_second": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "block_bytes": BLOCK_BYTES,
        "depth": DEPTH,
        "rounds": _ROUNDS,
    }


def model_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint, in order."""
    return sorted(folder.glob("*.safetensors"))


@dataclass(frozen=True)
class Counters:
    """What a block device did since the machine started."""

    read_bytes: int
    busy_seconds: float

    def since(self, earlier: "Counters") -> dict[str, float]:
        return {
            "read_bytes": self.read_bytes - earlier.read_bytes,
            "busy_seconds": self.busy_seconds - earlier.busy_seconds,
        }


def counters(path: Path) -> Counters | None:
    """Of the device that holds `path`; None where the kernel does not tell."""
    number = path.stat().st_dev
    file = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    try:
        fields = file.read_text(encoding="ascii").split()
    except OSError:
        return None
    return Counters(int(fields[2]) * 512, int(fields[9]) / 1000)


def drop_page_cache() -> None:
    """Writes dirty pages and forgets clean ones; needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
