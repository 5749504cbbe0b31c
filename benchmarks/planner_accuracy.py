"""Predicted against measured tokens a second, policy by policy, on this processor and disk.

    python benchmarks/planner_accuracy.py --data FOLDER

Checkpoints of real shapes with random weights are made in FOLDER once (about 20 GB). The machine is
probed first; reads are held to 0.8 GB/s, in the runs and in the machine that plans, so that a disk
shared with others does not decide. Every case is planned for its budget, predicted for exactly its
rows, and run. Writes benchmarks/results/planner-accuracy.json.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from penstock import _core
from penstock.cli.bench import run_bench
from penstock.cli.materialise import materialise
from penstock.cli.probing import write_machine
from penstock.engine.workload import Workload
from penstock.machine.probe import Probe
from penstock.settings import EngineSettings
from results import Criterion, Results, limit_text

_DISK = 0.8e9
_MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A shape, its formats, and a job; `share` of the weights' bytes is the budget for all."""

    shape: str
    share: float
    rows: int
    prompt: int
    new: int
    weights: str = "auto"
    kv: str = "auto"
    policy: str = ""


CASES = (
    Case("opt-125m", 1.0, 256, 64, 32),
    Case("opt-125m", 0.6, 128, 128, 16),
    Case("opt-125m", 0.4, 256, 64, 16, "int8", "int8"),
    Case("opt-350m", 1.0, 128, 64, 32),
    Case("opt-350m", 0.5, 96, 128, 32),
    Case("opt-350m", 0.3, 128, 64, 32, "int4", "int4"),
    Case("qwen2-0.5b", 1.0, 128, 128, 32),
    Case("qwen2-0.5b", 0.5, 128, 128, 32, "bf16", "int8"),
    Case("qwen2-0.5b", 0.25, 96, 64, 24, "int4"),
    Case("llama-3.2-1b", 1.0, 96, 128, 24),
    Case("llama-3.2-1b", 0.6, 96, 128, 24),
    Case("llama-3.2-1b", 0.3, 64, 128, 24),
    Case("llama-3.2-1b", 0.3, 64, 64, 24, "int8", "int8"),
    Case("llama-3.2-1b", 0.3, 64, 64, 24, "bf16", "bf16", '{"admission": "block"}'),
    Case("llama-3.2-1b", 0.2, 48, 64, 16, "int4", "int4"),
    Case("opt-1.3b", 1.0, 48, 64, 16),
    Case("opt-1.3b", 0.5, 48, 64, 16),
    Case("opt-1.3b", 0.3, 48, 64, 16, "int8", "int8"),
    Case("opt-1.3b", 0.3, 32, 64, 16, "int4", "int8", '{"micro_batch": 8, "micro_batches": 4}'),
    Case("opt-1.3b", 0.4, 32, 64, 16, "auto", "auto", '{"admission": "block"}'),
    Case("opt-6.7b", 0.1, 32, 32, 6, "int4", "int8"),
    Case("opt-6.7b", 0.25, 32, 32, 4, "int8", "int8"),
)


def settings_of(case: Case, data: Path, machine_text: str) -> EngineSettings:
    folder = data / case.shape
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return EngineSettings.make(
        folder,
        host_memory=max(int(case.share * size), 96 * _MIB) + 64 * _MIB,
        disk=str(data),
        weights=case.weights,
        kv=case.kv,
        policy=case.policy,
        machine=machine_text,
        throttle={"disk_read_bytes_per_second": _DISK},
        cache=str(data / "packed"),
    )


def run_case(case: Case, data: Path, machine_text: str) -> dict[str, Any]:
    """One run; predicted and measured tokens a second, lanes, bytes."""
    settings = settings_of(case, data, machine_text)
    workload = Workload.uniform(case.rows, case.prompt, case.new)
    report = run_bench(settings, workload)
    predicted, stats = report["prediction"], report["stats"]
    lanes = {
        name: {
            "predicted": predicted["lanes"].get(name, {}).get("seconds", 0.0),
            "measured": lane["busy_seconds"],
        }
        for name, lane in stats["lanes"].items()
        if lane["tasks"]
    }
    moved = {name: lane["bytes"] for name, lane in stats["lanes"].items() if lane["bytes"]}
    expected = {name: lane["bytes"] for name, lane in predicted["lanes"].items() if lane["bytes"]}
    rate = report["generated_tokens"] / stats["seconds"]
    return {
        "case": vars(case),
        "predicted": predicted["tokens_per_second"],
        "measured": rate,
        "off": rate / predicted["tokens_per_second"] - 1,
        "seconds": {"predicted": predicted["seconds"], "measured": stats["seconds"]},
        "lanes": lanes,
        "bytes_agree": moved == expected,
        "sweeps": stats["sweeps"],
        "policy": report["engine"]["policy"],
    }


def probed(data: Path) -> str:
    """This machine, its disk held to the rate that the runs are held to."""
    path = data / "machine.json"
    write_machine(Probe(device="cpu", disk=str(data), threads=0, seconds=30), path, lambda _: None)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["disk_read_bytes_per_second"] = min(_DISK, found["disk_read_bytes_per_second"])
    return json.dumps(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", type=int, action="append", help="numbers of cases, from 0")
    parser.add_argument("--machine", type=Path, help="a machine file instead of a probe")
    arguments = parser.parse_args()
    data = arguments.data
    for shape in {case.shape for case in CASES}:
        if not (data / shape).exists():
            materialise(f"dummy:{shape}", data / shape, 1)
    machine_text = arguments.machine.read_text() if arguments.machine else probed(data)
    runs = []
    for number, case in enumerate(CASES):
        if arguments.only and number not in arguments.only:
            continue
        runs.append(run_case(case, data, machine_text))
        one = runs[-1]
        print(
            f"{number:2d} {case.shape:13s} {case.share:4.2f} {case.weights:5s} {case.kv:5s}"
            f" predicted {one['predicted']:8.2f} measured {one['measured']:8.2f}"
            f" {one['off']:+7.1%} in {one['seconds']['measured']:6.1f} s"
            f" bytes {'agree' if one['bytes_agree'] else 'differ'}",
            flush=True,
        )
    if not arguments.only:
        write(runs, machine_text, data)


def write(runs: list[dict[str, Any]], machine_text: str, data: Path) -> None:
    off = [abs(one["off"]) for one in runs]
    criteria = [
        Criterion("policies", len(runs), 20, at_most=False),
        Criterion("largest difference", max(off), 0.15),
        Criterion("median difference", statistics.median(off), 0.07),
        Criterion("runs whose bytes differ", sum(not one["bytes_agree"] for one in runs), 0),
    ]
    result = {
        "machine": machine.facts(),
        "version": _core.version(),
        "planned_with": json.loads(machine_text),
        "runs": runs,
        "criteria": [criterion.to_json() for criterion in criteria],
    }
    Results(replaced={str(data): "DATA"}).write("planner-accuracy", result)
    for one in result["criteria"]:
        print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} |")


if __name__ == "__main__":
    main()
