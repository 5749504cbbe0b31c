"""Models that do not fit a GPU's memory budget, random weights in RAM: how well lanes overlap.

    python benchmarks/gpu_offload.py

OPT-30B in 16 bits (prompts and new tokens 512/32 and 128/128), Llama-3.1-70B and OPT-175B in 4,
each under the same device budget and planned with what ``penstock probe`` measures first. Shown are
the run's seconds over those of its busiest lane, the host-to-device rate over that of pinned
copies, predicted against measured seconds, and for OPT-30B Accelerate under the same budget (eight
timed steps, the job extrapolated). Needs a GPU and RAM for the weights (60, 40 and 100 GB); no
root, no download. Writes benchmarks/results/gpu-offload.json after every run.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpu
import machine
from results import RESULTS, Results

Result = dict[str, Any]

_HERE = Path(__file__).parent
_PENSTOCK = [sys.executable, "-m", "penstock"]
_RAM_SHARE = 0.88  # of what is free, for the engine
_GIB = 1 << 30


@dataclass(frozen=True)
class Case:
    """A shape, its formats and a job; `peer` is the batch that Accelerate runs of it."""

    name: str
    model: str
    rows: int
    prompt: int
    new: int
    weights: str = "auto"
    kv: str = "auto"
    peer: int = 0


CASES = (
    Case("opt-30b 512/32", "dummy:opt-30b", 32, 512, 32, peer=8),
    Case("opt-30b 128/128", "dummy:opt-30b", 64, 128, 128),
    Case("llama-3.1-70b int4", "dummy:llama-3.1-70b", 64, 512, 32, "int4"),
    Case("opt-175b int4", "dummy:opt-175b", 32, 128, 32, "int4", "int8"),
)
SMALL = (
    Case("opt-125m", "dummy:opt-125m", 8, 16, 4),
    Case("opt-125m int4", "dummy:opt-125m", 8, 16, 4, "int4"),
)


@dataclass(frozen=True)
class Setting:
    """Where and with what budgets all cases run."""

    device: str
    device_memory: int
    host_memory: int
    machine_file: Path
    folder: Path


def free_ram() -> int:
    """Bytes that this process may take: of the machine, or of its control group."""
    info = Path("/proc/meminfo").read_text(encoding="utf-8")
    free = next(int(row.split()[1]) for row in info.splitlines() if row.startswith("MemAvailable"))
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.exists() else "max"
    return free * 1024 if text == "max" else min(free * 1024, int(text))


def called(command: list[str], seconds: float, log: Path) -> tuple[int, str]:
    """Exit code and output; 124 when the time was up. What else it says goes to the log."""
    with log.open("a", encoding="utf-8") as file:
        file.write("$ " + " ".join(command[1:]) + "\n")
        file.flush()
        try:
            run = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=file, text=True, timeout=max(1.0, seconds)
            )
        except subprocess.TimeoutExpired:
            file.write("cut off: its time was up\n")
            return 124, ""
    return run.returncode, run.stdout


def failure(code: int, log: Path) -> Result:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return {"failed": True, "exit_code": code, "log": text[-2000:]}


def probed(setting: Setting, seconds: float) -> Result:
    """The machine with this device, for the plans of all cases."""
    if setting.machine_file.exists():
        return dict(json.loads(setting.machine_file.read_text(encoding="utf-8")))
    log = setting.folder / "probe.log"
    command = [*_PENSTOCK, "probe", "--device", setting.device, "--seconds", "20"]
    command += ["--disk", str(setting.folder), "--output", str(setting.machine_file)]
    code, _ = called(command, seconds, log)
    if code != 0 or not setting.machine_file.exists():
        return failure(code, log)
    return dict(json.loads(setting.machine_file.read_text(encoding="utf-8")))


def bench(case: Case, setting: Setting, seconds: float) -> Result:
    log = setting.folder / f"{case.name.replace(' ', '-').replace('/', '-')}.log"
    options = {
        "rows": case.rows,
        "prompt-len": case.prompt,
        "new": case.new,
        "weights": case.weights,
        "kv": case.kv,
        "device": setting.device,
        "device-memory": setting.device_memory,
        "host-memory": setting.host_memory,
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    if setting.machine_file.exists():
        flags += ["--machine", str(setting.machine_file)]
    code, printed = called([*_PENSTOCK, "bench", case.model, *flags], seconds, log)
    return dict(json.loads(printed)) if code == 0 else failure(code, log)


def figures(report: Result, probe: Result) -> Result:
    """What is asked of a run; a lane's rate is over the time that it is busy."""
    stats, predicted = report["stats"], report.get("prediction") or {}
    lanes = {name: lane for name, lane in stats["lanes"].items() if lane["tasks"]}
    busiest = max(lanes, key=lambda name: lanes[name]["busy_seconds"])
    up = lanes.get("h2d", {"bytes": 0, "busy_seconds": 0.0})
    rate = up["bytes"] / up["busy_seconds"] if up["busy_seconds"] else None
    pinned = probe.get("h2d_bytes_per_second")
    return {
        "tokens_per_second": report["generated_tokens"] / stats["seconds"],
        "seconds": stats["seconds"],
        "open_seconds": report["open_seconds"],
        "busiest_lane": busiest,
        "over_busiest": stats["seconds"] / lanes[busiest]["busy_seconds"],
        "over_busiest_of_each_sweep": stats["seconds"] / max(1e-9, stats["busiest_seconds"]),
        "h2d_bytes_per_second": rate,
        "h2d_of_pinned": rate / pinned if rate and pinned else None,
        "h2d_over_the_run": up["bytes"] / stats["seconds"] / pinned if pinned else None,
        "predicted_seconds": predicted.get("seconds"),
        "measured_over_predicted": stats["seconds"] / predicted["seconds"] if predicted else None,
        "busy_seconds": {name: lane["busy_seconds"] for name, lane in lanes.items()},
    }


def peer(case: Case, setting: Setting, seconds: float) -> Result:
    """Accelerate on a batch of the case; the job is cut into blocks of that many rows."""
    log, output = setting.folder / "accelerate.log", setting.folder / "accelerate.json"
    output.unlink(missing_ok=True)
    options = {
        "device-bytes": setting.device_memory,
        "batch": case.peer,
        "prompt": case.prompt,
        "output": output,
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    script = str(_HERE / "peers" / "accelerate_gpu.py")
    code, _ = called([sys.executable, script, *flags], seconds, log)
    if code != 0 or not output.exists():
        return failure(code, log)
    result: Result = json.loads(output.read_text(encoding="utf-8"))
    step = sum(result["step_seconds"]) / len(result["step_seconds"])
    whole = case.rows / case.peer * (result["prefill_seconds"] + (case.new - 1) * step)
    rate = case.rows * case.new / whole
    return {**result, "job_seconds": whole, "tokens_per_second": rate}


def row(name: str, result: Result) -> str:
    """A line of the table."""
    if "failed" in result:
        said = "cut off" if result["exit_code"] == 124 else f"failed ({result['exit_code']})"
        return f"| {name} | {said} | | | | | |"
    found = result.get("figures", result)
    keys = ("tokens_per_second", "seconds", "over_busiest", "h2d_of_pinned")
    cells = [found.get(key) for key in (*keys, "measured_over_predicted")]
    shown = ["" if value is None else f"{value:.3g}" for value in cells]
    return f"| {name} | {' | '.join(shown)} | {found.get('busiest_lane', '')} |"


HEAD = """| run | tokens/s | s | over busiest | h2d of pinned | measured / predicted | busiest |
|---|---:|---:|---:|---:|---:|---|"""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--device-memory", type=float, default=16, help="GiB of each run")
    parser.add_argument("--host-memory", type=float, default=0, help="GiB; 0: most of what is free")
    parser.add_argument("--only", action="append", help="names of cases; others stay as they were")
    parser.add_argument("--seconds", type=float, default=3600, help="begin nothing later")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the way")
    parser.add_argument("--no-peer", action="store_true", help="without Accelerate")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--scratch", type=Path, required=True, help="folder of logs and probe")
    return parser.parse_args()


def wanted(arguments: argparse.Namespace) -> list[Case]:
    cases = SMALL if arguments.small else CASES
    chosen = [case for case in cases if not arguments.only or case.name in arguments.only]
    if not chosen:
        sys.exit(f"no such case; there are: {', '.join(case.name for case in cases)}")
    return chosen


def main() -> None:
    arguments = parsed()
    chosen, clock = wanted(arguments), gpu.Clock(arguments.seconds)
    folder = arguments.scratch
    folder.mkdir(parents=True, exist_ok=True)
    host = int(arguments.host_memory * _GIB) or int(_RAM_SHARE * free_ram())
    device_memory = int(arguments.device_memory * _GIB)
    setting = Setting(arguments.device, device_memory, host, folder / "machine.json", folder)
    results = Results(arguments.out, {str(folder): "SCRATCH", str(_HERE.parent): "SOURCES"})
    kept = results.read("gpu-offload")
    runs: dict[str, Result] = kept.get("runs", {})
    result: Result = {**gpu.card(), "machine": machine.facts(), "device": setting.device}
    result |= {"device_memory": device_memory, "host_memory": host}
    probe = probed(setting, clock.left)
    result["probe"] = probe
    failed = ["probe"] if "failed" in probe else []
    print(HEAD)

    def keep(name: str, run: Result) -> None:
        runs[name] = run
        results.write("gpu-offload", {**result, "runs": runs})
        print(row(name, run), flush=True)
        if "failed" in run:
            failed.append(name)

    for case in chosen:
        run = bench(case, setting, clock.left)
        if "failed" not in run:
            run = {"case": asdict(case), "figures": figures(run, probe), "measured": run}
        keep(case.name, run)
        if case.peer and not arguments.no_peer:
            keep(f"Accelerate {case.name}", peer(case, setting, clock.left))
    if failed:
        print(f"failed: {', '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
