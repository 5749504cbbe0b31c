"""The planner's choice against the best of a grid of policies, on modelled links.

    python benchmarks/planner_choice.py

Three jobs on the virtual accelerator, whose lanes are held to given rates. For each, every policy
of a grid that fits is run through dry; the five fastest and the planner's choice are then run in
turn, five times each. Writes benchmarks/results/planner-choice.json; `--only NAME` runs one job,
`--dry` only ranks.
"""

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import random_checkpoint
from penstock.cli.bench import run_bench
from penstock.cli.options import WorkloadArgs
from penstock.engine.native import native_core
from penstock.engine.planning import planning
from penstock.planner import choose
from penstock.planner.space import NativePlanning, Space
from penstock.settings import EngineSettings
from results import Criterion, Results, limit_text
from schedules import Shape, modelled_machine

_RUNS = 5
_BEST = 5
_PATIENCE = 4.0  # seconds of work for a search; a run gives it a small part of the job
_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the weights on the device


@dataclass(frozen=True)
class Job:
    """A job on a modelled machine; `budgets` and `rates` as EngineSettings.make and a throttle."""

    about: str
    shape: Shape
    rows: WorkloadArgs
    budgets: dict[str, str]
    rates: dict[str, float]


def rates_of(shape: Shape, tokens_per_second: float, **bytes_per_second: float) -> dict[str, float]:
    """A machine that multiplies for so many tokens a second, with links of these rates."""
    links = {f"{name}_bytes_per_second": rate for name, rate in bytes_per_second.items()}
    return {"gemm_flops_per_second": tokens_per_second * shape.token_flops, **links}


_SHAPE = Shape(256, 12)  # 18.9 MB of weights, 12.3 kB of keys and values a token
JOBS = {
    "weights": Job(
        "32 + 32 tokens; weights and KV beyond the device's memory",
        _SHAPE,
        WorkloadArgs(96, 32, 32),
        {"device_memory": "24MiB", "host_memory": "256MiB"},
        rates_of(_SHAPE, 1200, h2d=200e6, d2h=200e6, host_attention=300e6),
    ),
    "disk": Job(
        "64 + 16 tokens; weights beyond the host's memory too",
        _SHAPE,
        WorkloadArgs(64, 64, 16),
        {"device_memory": "16MiB", "host_memory": "40MiB", "disk_memory": "1GiB"},
        rates_of(_SHAPE, 1200, h2d=300e6, d2h=300e6, disk_read=60e6, host_attention=400e6),
    ),
    "keys": Job(
        "256 + 32 tokens; attention where the KV cache lives, or its pages fetched",
        _SHAPE,
        WorkloadArgs(32, 256, 32),
        {"device_memory": "24MiB", "host_memory": "256MiB"},
        rates_of(_SHAPE, 1500, h2d=300e6, d2h=300e6, host_attention=600e6),
    ),
}


def settings_of(job: Job, folder: Path, policy: dict[str, Any]) -> EngineSettings:
    disk = {"disk": str(folder)} if "disk_memory" in job.budgets else {}
    return EngineSettings.make(
        folder,
        device="virtual",
        policy=policy,
        throttle=job.rates,
        machine=modelled_machine(job.rates),
        **job.budgets,
        **disk,
    )


def planning_of(job: Job, folder: Path) -> NativePlanning:
    rows = job.rows
    lengths = rows.workload()
    return planning(native_core(), settings_of(job, folder, {}), lengths)


def grid(job: Job) -> Iterator[dict[str, Any]]:
    """Policies as a person would try them, whether they fit or not."""
    rows = job.rows.rows
    counts = sorted({rows // part for part in (8, 4, 2, 1)})
    launches = (8, 16, 32, 64)
    keys: list[dict[str, Any]] = [
        {"kv_share": {"device": 1}},
        {"kv_share": {"host": 1}},
        {"kv_share": {"device": 0.5, "host": 0.5}},
        {"kv_share": {"host": 1}, "host_attention": True},
        {"kv_share": {"device": 0.5, "host": 0.5}, "host_attention": True},
    ]
    for count, launch, held, kv in itertools.product(counts, launches, _SHARES, keys):
        if launch > count:
            continue
        policy = {"max_sequences": count, "micro_batch": launch, "micro_batches": count // launch}
        for chunk in {launch, 4 * launch, launch * job.rows.prompt_len}:
            for spilled in spills(job):
                weights = {"device": held, "host": (1 - held) * (1 - spilled)}
                weights["disk"] = (1 - held) * spilled
                shared = policy | kv | {"weight_share": weights, "prefill_chunk": chunk}
                shared["micro_batch_tokens"] = max(launch, chunk)
                yield shared | {"admission": "block"}
                yield shared | {"admission": "continuous", "pace": chunk}


def spills(job: Job) -> tuple[float, ...]:
    """How much of the weights that the device does not hold is on disk."""
    return (0.2, 0.4, 0.6, 0.8) if "disk_memory" in job.budgets else (0.0,)


def ranked(job: Job, space: Space) -> tuple[list[tuple[float, dict[str, Any]]], int]:
    """Policies of the grid that fit, fastest first in dry runs; and how many were tried."""
    fitting: dict[str, tuple[float, dict[str, Any]]] = {}
    tried = 0
    for wanted in grid(job):
        tried += 1
        found = space.evaluate(wanted)
        key = json.dumps(found.policy, sort_keys=True)
        if not found.fits or key in fitting:
            continue
        fitting[key] = (space.predict(found.policy, 0)["seconds"], found.policy)
    return sorted(fitting.values(), key=lambda one: one[0]), tried


def measure(job: Job, folder: Path, policies: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    """Seconds of every run; the policies take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(_RUNS):
        for name, policy in policies.items():
            report = run_bench(settings_of(job, folder, policy), job.rows.workload())
            seconds[name].append(report["stats"]["seconds"])
    return seconds


def compare(name: str, job: Job, folder: Path, dry: bool) -> dict[str, Any]:
    random_checkpoint.write_model(job.shape.config(), folder, tell=lambda _: None)
    native = planning_of(job, folder)
    space = Space(native)
    found, tried = ranked(job, space)
    choice = choose(native, effort=_PATIENCE)
    if choice is None:
        raise SystemExit(f"{name}: no policy was found to fit")
    policies = {f"grid {place}": policy for place, (_, policy) in enumerate(found[:_BEST], 1)}
    policies["choice"] = choice.policy
    predicted = {f"grid {place}": seconds for place, (seconds, _) in enumerate(found[:_BEST], 1)}
    predicted["choice"] = space.predict(choice.policy, 0)["seconds"]
    print(
        f"{name}: {len(found)} of {tried} policies fit; solved in {choice.seconds:.2f} s",
        flush=True,
    )
    runs = {} if dry else measure(job, folder, policies)
    median = {label: statistics.median(seconds) for label, seconds in runs.items()}
    for label, policy in policies.items():
        took = f"measured {median[label]:6.2f} s" if median else json.dumps(policy)
        print(f"  {label:7s} predicted {predicted[label]:6.2f} s {took}", flush=True)
    result = {"about": job.about, "job": vars(job.rows), "rates": job.rates, "budgets": job.budgets}
    result |= {"policies": policies, "predicted_seconds": predicted, "measured_seconds": runs}
    return result | {
        "grid": len(found),
        "solving_seconds": choice.seconds,
        "median_seconds": median,
    }


def criteria_of(name: str, result: dict[str, Any]) -> list[Criterion]:
    median = result["median_seconds"]
    best = min(median.values())
    off = max(abs(result["predicted_seconds"][one] / median[one] - 1) for one in median)
    return [
        Criterion(f"{name}: policies ranked", result["grid"], 100, at_most=False),
        Criterion(f"{name}: choice, of the best", best / median["choice"], 0.95, at_most=False),
        Criterion(f"{name}: seconds to solve", result["solving_seconds"], 5),
        Criterion(f"{name}: largest difference from the prediction", off, 0.15),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(JOBS))
    parser.add_argument("--dry", action="store_true", help="ranks, runs and writes nothing")
    arguments = parser.parse_args()
    results, facts = Results(), machine.facts()
    kept = results.read("planner-choice").get("jobs", {}) if arguments.only else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.only or JOBS:
            kept[name] = compare(name, JOBS[name], Path(scratch) / name, arguments.dry)
    if arguments.dry:
        return
    criteria = [one for name, result in kept.items() for one in criteria_of(name, result)]
    result = {"machine": facts, "jobs": kept, "criteria": [one.to_json() for one in criteria]}
    results.write("planner-choice", result)
    for one in result["criteria"]:
        print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} |")


if __name__ == "__main__":
    main()
