"""``penstock probe``: figures of this machine, kept in a file that engines read when they plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.cli.bench import run_bench
from penstock.engine.workload import Workload
from penstock.machine.calibrate import products_scaled
from penstock.machine.place import Place
from penstock.machine.probe import Probe, measure_machine
from penstock.settings import EngineSettings
from penstock.util.outputfile import write_atomically


def write_machine(
    asked: Probe, output: Path | None, tell: Callable[[str], None]
) -> tuple[Path, dict[str, Any]]:
    """Measures and keeps the figures; where, and what. Raises PenstockError."""
    path = output or Place(asked.device, asked.threads, Path(asked.disk)).file
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
        report = run_bench(settings, Workload.uniform(_ROWS, _PROMPT, _NEW))
        predicted = report["prediction"]["lanes"]["compute"]["seconds"]
        factors[prefix] = predicted / report["stats"]["lanes"]["compute"]["busy_seconds"]
    return products_scaled(machine, factors)
