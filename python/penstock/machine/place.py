"""What figures are of: this machine, what computes on it, and a disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from penstock.machine.disk_class import mount_of
from penstock.machine.facts import machine_facts
from penstock.util.config import machine_file

_KEY_BYTES = 8
_GIB = 1 << 30


@dataclass(frozen=True)
class Place:
    """What computes, with how many threads (0: one for each core), and a folder on the disk."""

    device: str = "cpu"
    threads: int = 0
    folder: Path = Path(".")

    @property
    def key(self) -> str:
        """The same for all folders on a disk, and after a restart of the machine."""
        facts, cores = machine_facts(), len(os.sched_getaffinity(0))
        machine = (facts["cpu"], facts["cores"], round(facts["memory_bytes"] / _GIB))
        parts = [*machine, self.device, self.threads or cores, *mount_of(self.existing_folder)]
        digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=_KEY_BYTES)
        return digest.hexdigest()

    @property
    def file(self) -> Path:
        """Where its figures are kept."""
        return machine_file(self.key)

    @property
    def existing_folder(self) -> Path:
        """The folder, or the nearest above it that there is."""
        path = self.folder.absolute()
        return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))
