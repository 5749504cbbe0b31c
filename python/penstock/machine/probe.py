"""The probe: figures of this machine, measured through the very workers that run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from penstock.errors import engine_errors
from penstock.machine.facts import machine_facts
from penstock.util.config import cublaslt_library

_QUICK_SECONDS, _QUICK_DISK_BYTES = 5.0, 128 << 20


@dataclass(frozen=True)
class Probe:
    """What to measure; ``disk`` is a folder on the disk, ``seconds`` about how long it takes.

    ``quick`` takes a third of that: fewer row counts and disk bytes, no short jobs.
    """

    device: str = "cpu"
    disk: str = "."
    threads: int = 0
    seconds: float = 30.0
    quick: bool = False


def measure_machine(asked: Probe, tell: Callable[[str], None], core: Any = None) -> dict[str, Any]:
    """Measures; bytes and operations per second, as ``machine=`` takes them.

    ``tell`` is called with what is being measured. Raises PenstockError: an unknown device, a
    folder that cannot be written to, too little memory. `core` replaces the native module in tests.
    """
    if core is None:
        from penstock import _core as core
    options = core.ProbeOptions()
    for name, value in asdict(asked).items():
        setattr(options, name, value)
    if asked.quick:
        options.seconds, options.disk_bytes = min(asked.seconds, _QUICK_SECONDS), _QUICK_DISK_BYTES
    options.cublaslt = cublaslt_library()
    options.progress = tell
    with engine_errors():
        machine: dict[str, Any] = json.loads(core.probe_machine(options))
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    facts = machine_facts()
    machine["about"] = f"{machine['about']}, {facts['cpu']}, Linux {facts['kernel']}, {date}"
    return machine
