"""The probe: figures of this machine, kept in a file that engines read when they plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from penstock.config import cublaslt_library, machine_file
from penstock.errors import engine_errors
from penstock.native import Core, native_core
from penstock.outputfile import write_atomically
from penstock.settings import EngineSettings

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


def measure_machine(
    asked: Probe, tell: Callable[[str], None], core: Core | None = None
) -> dict[str, Any]:
    """Measures; bytes and operations per second, as ``machine=`` takes them.

    ``tell`` is called with what is being measured. Raises PenstockError: an unknown device, a
    folder that cannot be written to, too little memory.
    """
    from penstock.bench import machine_facts

    native = core or native_core()
    options = native.ProbeOptions()
    for name, value in asdict(asked).items():
        setattr(options, name, value)
    if asked.quick:
        options.seconds, options.disk_bytes = min(asked.seconds, _QUICK_SECONDS), _QUICK_DISK_BYTES
    options.cublaslt = cublaslt_library()
    options.progress = tell
    with engine_errors():
        machine: dict[str, Any] = json.loads(native.probe_machine(options))
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    facts = machine_facts()
    machine["about"] = f"{machine['about']}, {facts['cpu']}, Linux {facts['kernel']}, {date}"
    return machine


def write_machine(
    asked: Probe, output: Path | None, tell: Callable[[str], None]
) -> tuple[Path, dict[str, Any]]:
    """Measures and keeps the figures; where, and what. Raises PenstockError."""
    path = output or machine_file()
    machine = measure_machine(asked, tell)
    if asked.device.split(":")[0] == "cpu" and not asked.quick:
        machine = calibrated(machine, asked, tell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(machine, indent=1).encode() + b"\n")
    return path, machine


# Shapes that stand for a group of formats, small enough to be made on the spot: the products
# measured alone run somewhat faster than those of a model, between whose layers the caches change.
_STAND_INS = (
    ("fp", "dummy:opt-125m", "auto"),
    ("bf16", "dummy:qwen2-0.5b", "auto"),
    ("int", "dummy:qwen2-0.5b", "int4"),
)
_ROWS, _PROMPT, _NEW = 32, 96, 12
_CALIBRATION_MEMORY = 3 << 30


def calibrated(
    machine: dict[str, Any], asked: Probe, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The machine with its products corrected by what short jobs took; no disk is read."""
    from penstock.bench import run_bench
    from penstock.calibrate import products_scaled
    from penstock.cli_options import WorkloadArgs

    factors = {}
    for prefix, shape, weights in _STAND_INS:
        tell(f"a model in {weights if weights != 'auto' else prefix}")
        settings = EngineSettings.make(
            shape,
            device=asked.device,
            host_memory=_CALIBRATION_MEMORY,
            weights=weights,
            threads=asked.threads,
            machine=machine,
            policy={"weight_share": {"host": 1}},
        )
        told = run_bench(settings, WorkloadArgs(rows=_ROWS, prompt_len=_PROMPT, new=_NEW))
        predicted = told["prediction"]["lanes"]["compute"]["seconds"]
        factors[prefix] = predicted / told["stats"]["lanes"]["compute"]["busy_seconds"]
    return products_scaled(machine, factors)
