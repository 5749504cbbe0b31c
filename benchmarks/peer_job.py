"""Accelerate's disk offload inside a memory limit, and what the whole job would take with it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import disk
import machine
import memory_limit

SCRIPT = Path(__file__).parent / "peers" / "accelerate_offload.py"
_RUNTIME_BYTES = 1280 << 20  # torch and its libraries, the module being computed
_ACTIVATION_BYTES_A_TOKEN = 384 << 10  # of the prompts, which are read at once


@dataclass(frozen=True)
class PeerJob:
    """A batch size of the peer; the job is cut into blocks of that many rows."""

    model: Path
    python: Path
    batch: int
    steps: int
    rows: int
    prompt: int
    new: int
    limit_bytes: int


def kv_bytes(config: dict[str, Any], tokens: int) -> int:
    """16-bit keys and values of so many tokens."""
    return 4 * config["num_hidden_layers"] * config["hidden_size"] * tokens


def resident_bytes(job: PeerJob) -> int:
    """Weights that the peer may keep in RAM: the limit less cache, activations and runtime."""
    config = json.loads((job.model / "config.json").read_text(encoding="utf-8"))
    cache = kv_bytes(config, job.batch * (job.prompt + job.new))
    used = _RUNTIME_BYTES + cache + job.batch * job.prompt * _ACTIVATION_BYTES_A_TOKEN
    return max(0, job.limit_bytes - used)


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Measures prefill and a few steps; extrapolates to the whole job."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    output = folder / "peer.json"
    options = {
        "model": job.model,
        "offload": folder / "offload",
        "cpu-bytes": resident_bytes(job),
        "batch": job.batch,
        "prompt": job.prompt,
        "steps": job.steps,
        "threads": machine.facts()["cores"],
        "output": output,
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [str(job.python), str(SCRIPT), *flags]
    facts, probe = machine.facts(), disk.probe(disk.model_files(job.model))
    outcome = memory_limit.run_limited(command, job.limit_bytes, folder / "run.log", job.model)
    shutil.rmtree(folder / "offload", ignore_errors=True)
    result: dict[str, Any] = {
        "peer": "accelerate disk offload, bf16",
        "rows": job.rows,
        "prompt": job.prompt,
        "new": job.new,
        "batch": job.batch,
        "command": " ".join(command),
        "machine": facts,
        "disk_probe": probe,
        "outcome": outcome.to_json(),
        "log": (folder / "run.log").read_text(encoding="utf-8", errors="replace")[-2000:],
    }
    if not output.exists():
        return {**result, "failed": True}
    peer = json.loads(output.read_text(encoding="utf-8"))
    return {**result, "measured_peer": peer, "extrapolated": extrapolated(job, peer)}


def extrapolated(job: PeerJob, peer: dict[str, Any]) -> dict[str, Any]:
    """The whole job without the load; a last block that is not full counts by its share."""
    steps = peer["step_seconds"]
    step = sum(steps) / len(steps)
    block = peer["prefill_seconds"] + (job.new - 1) * step
    seconds = job.rows / job.batch * block
    return {
        "measured_steps": len(steps),
        "how": "rows / batch x (prefill + (new - 1) x mean measured step); load not counted",
        "seconds": seconds,
        "tokens_per_second": job.rows * job.new / seconds,
    }
