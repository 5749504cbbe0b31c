"""One ``penstock run`` inside a memory limit, measured from inside (its report) and outside."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import disk
import machine
import memory_limit
from results import Criterion

PENSTOCK = [sys.executable, "-m", "penstock"]
_RSS_ALLOWANCE_BYTES = 256 << 20
_VOCABULARY = 50000


@dataclass(frozen=True)
class Job:
    """Rows of random token ids through one checkpoint; sizes as the command line takes them."""

    model: Path
    weights: str
    host_memory: str
    limit_bytes: int
    rows: int
    prompt: int
    new: int
    kv: str = "auto"
    policy: str = "auto"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "model": self.model.name}


def write_rows(path: Path, job: Job) -> None:
    chosen = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for row in range(job.rows):
            ids = [chosen.randrange(4, _VOCABULARY) for _ in range(job.prompt)]
            file.write(json.dumps({"id": row, "prompt": ids}) + "\n")


def pack(job: Job, folder: Path) -> dict[str, Any] | None:
    """Packs quantised weights under the job's own limits; None when there is nothing to pack."""
    if job.weights == "auto":
        return None
    options = ["--weights", job.weights, "--host-memory", job.host_memory]
    command = [*PENSTOCK, "quantize", str(job.model), *options]
    log = folder / "pack.log"
    outcome = memory_limit.run_limited(command, job.limit_bytes, log, job.model)
    return {**outcome.to_json(), "output": _tail(log)}


def measured_machine(folder: Path) -> Path:
    """Figures of this machine by ``penstock probe``, for the plan of the job."""
    path = folder / "machine.json"
    command = [*PENSTOCK, "probe", "--disk", str(folder), "--output", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Packs if need be, then runs the job between two probes of machine and disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packing = pack(job, folder)
    rows, output, report = folder / "rows.jsonl", folder / "out.jsonl", folder / "report.json"
    write_rows(rows, job)
    figures = measured_machine(folder)
    options = {
        "input": rows,
        "output": output,
        "report": report,
        "host-memory": job.host_memory,
        "weights": job.weights,
        "kv": job.kv,
        "machine": figures,
        "policy": job.policy,
        "max-tokens": job.new,
        "temperature": 0,
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [*PENSTOCK, "run", str(job.model), *flags, "--ignore-eos"]
    files = disk.model_files(job.model)
    facts, peaks, probes = machine.facts(), [machine.peaks()], [disk.probe(files)]
    outcome = memory_limit.run_limited(command, job.limit_bytes, folder / "run.log", job.model)
    probes.append(disk.probe(files))
    peaks.append(machine.peaks())
    result = {
        "job": job.to_json(),
        "command": " ".join(command),
        "machine": facts,
        "penstock_probe": json.loads(figures.read_text(encoding="utf-8")),
        "peaks_before_after": peaks,
        "disk_probe_before_after": probes,
        "packing": packing,
        "outcome": outcome.to_json(),
    }
    result["report"] = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    if not result["report"].get("stats"):
        return {**result, "failed": True, "log": _tail(folder / "run.log")}
    result["rows_written"] = _whole_rows(output, job.new)
    return {
        **result,
        "measured": _measured(result, outcome),
        "criteria": _criteria(result, outcome),
    }


def _whole_rows(output: Path, new: int) -> int:
    """Records with as many tokens as were asked for."""
    records = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return sum(len(record.get("token_ids", [])) == new for record in records)


def _device_rate(outcome: memory_limit.Outcome) -> float:
    """Of the whole command, by the kernel's counters; whatever else reads is in it."""
    device = outcome.device
    return device["read_bytes"] / device["busy_seconds"] if device and device["busy_seconds"] else 0


def _mean(values: list[Any]) -> float:
    return sum(values) / len(values)


def _measured(result: dict[str, Any], outcome: memory_limit.Outcome) -> dict[str, Any]:
    report, job = result["report"], result["job"]
    stats = report["stats"]
    lanes = stats["lanes"]
    busiest = max(lanes, key=lambda name: lanes[name]["busy_seconds"])
    reads = lanes.get("disk_read", {"bytes": 0, "busy_seconds": 0.0})
    rate = reads["bytes"] / reads["busy_seconds"] if reads["busy_seconds"] else 0.0
    probe = _mean([p["bytes_per_second"] for p in result["disk_probe_before_after"]])
    tokens = job["rows"] * job["new"]
    return {
        "tokens_per_second_whole_command": tokens / outcome.wall_seconds,
        "tokens_per_second_engine": tokens / report["seconds"],
        "sweep_seconds": stats["seconds"],
        "busy_seconds": {name: lane["busy_seconds"] for name, lane in lanes.items()},
        "busiest_lane": busiest,
        "sweeps_over_busiest_of_each": stats["seconds"] / max(1e-9, stats["busiest_seconds"]),
        "sweeps_over_busiest": stats["seconds"] / max(1e-9, lanes[busiest]["busy_seconds"]),
        "disk_bytes_per_second_while_reading": rate,
        "disk_probe_bytes_per_second": probe,
        "disk_share_of_probe": rate / probe,
        "tracked_peak_bytes": stats["peak_bytes"].get("host", 0),
        "tracked_budget_bytes": stats["budget_bytes"].get("host", 0),
        "device_bytes_per_second_while_busy": _device_rate(outcome),
        "engine_peak_rss_bytes": max(
            outcome.largest_process_bytes(), report["peak_rss_bytes"].get("engine", 0)
        ),
    }


def _criteria(result: dict[str, Any], outcome: memory_limit.Outcome) -> list[dict[str, Any]]:
    job, measured = result["job"], _measured(result, outcome)
    budget = measured["tracked_budget_bytes"]
    criteria = [
        Criterion("exit code", abs(outcome.exit_code), 0),
        Criterion("processes killed for memory", outcome.oom_kills, 0),
        Criterion("rows with all tokens", result["rows_written"], job["rows"], at_most=False),
        Criterion("tracked peak, bytes", measured["tracked_peak_bytes"], budget),
        Criterion(
            "peak RSS of the engine, bytes",
            measured["engine_peak_rss_bytes"],
            budget + _RSS_ALLOWANCE_BYTES,
        ),
        Criterion("sweeps over busiest lane", measured["sweeps_over_busiest"], 1.15),
        Criterion(
            "sweeps over the busiest lane of each",
            measured["sweeps_over_busiest_of_each"],
            1.15,
        ),
    ]
    if measured["disk_share_of_probe"]:
        share = measured["disk_share_of_probe"]
        criteria.append(Criterion("disk over probe", share, 0.85, at_most=False))
    return [criterion.to_json() for criterion in criteria]
