"""The probe: figures of this machine, kept in a file that engines read when they plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from penstock.config import machine_file
from penstock.errors import engine_errors
from penstock.native import Core, native_core
from penstock.outputfile import write_atomically


@dataclass(frozen=True)
class Probe:
    """What to measure; ``disk`` is a folder on the disk, ``seconds`` about how long it takes."""

    device: str = "cpu"
    disk: str = "."
    threads: int = 0
    seconds: float = 30.0


def measure_machine(
    asked: Probe, tell: Callable[[str], None], core: Core | None = None
) -> dict[str, Any]:
    """Measures; bytes and operations per second, as ``machine=`` takes them.

    ``tell`` is called with what is being measured. Raises PenstockError: an unknown device, a
    folder that cannot be written to, too little memory.
    """
    native = core or native_core()
    options = native.ProbeOptions()
    for name, value in asdict(asked).items():
        setattr(options, name, value)
    options.progress = tell
    with engine_errors():
        machine: dict[str, Any] = json.loads(native.probe_machine(options))
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    machine["about"] = f"{machine['about']}, {date}"
    return machine


def write_machine(
    asked: Probe, output: Path | None, tell: Callable[[str], None]
) -> tuple[Path, dict[str, Any]]:
    """Measures and keeps the figures; where, and what."""
    path = output or machine_file()
    machine = measure_machine(asked, tell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(machine, indent=1).encode() + b"\n")
    return path, machine
