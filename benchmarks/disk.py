"""Disk reads: a sequential O_DIRECT probe, and what the kernel counts for a device."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import programs

BLOCK_BYTES = 1 << 20
DEPTHS = (4, 8, 16, 32)
_ROUNDS = 3
_SECONDS_A_ROUND = 1.0


def probe(files: Sequence[Path]) -> dict[str, Any]:
    """Sequential O_DIRECT reads of 1 MiB at the depth that is fastest; bytes per second.

    Each depth has the median of its rounds; all of them are kept.
    """
    tried = [_probe_at(depth, files) for depth in DEPTHS]
    best = max(tried, key=lambda one: one["bytes_per_second"])
    rates = {str(one["depth"]): one["bytes_per_second"] for one in tried}
    return {**best, "block_bytes": BLOCK_BYTES, "rounds": _ROUNDS, "by_depth": rates}


def _probe_at(depth: int, files: Sequence[Path]) -> dict[str, Any]:
    settings = (_ROUNDS, _SECONDS_A_ROUND, BLOCK_BYTES, depth)
    return {**programs.run("disk_probe", *settings, *files), "depth": depth}


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
