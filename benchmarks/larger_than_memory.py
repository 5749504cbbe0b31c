"""The main job measured: a model larger than memory, from disk, inside a memory limit. Root only.

    larger_than_memory.py --data DIR make               two OPT-6.7B-shaped checkpoints, 27 GB
    larger_than_memory.py --data DIR budget             64 rows in 3 GiB (fp16), in 1 GiB (int4)
    larger_than_memory.py --data DIR peers --venv DIR   256 rows in 6 GiB, and Accelerate in 6 GiB
    larger_than_memory.py summary                       the comparison, from the results so far

Each measurement writes benchmarks/results/NAME.json as soon as it is done; one whose file exists
is not measured again unless --again is given. --only NAME picks measurements (repeatable). Run
nothing beside it.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import our_job
import peer_job
import random_checkpoint
from results import RESULTS, Criterion, Results, limit_text

GIB = 1 << 30
FLOP_A_TOKEN = 13.4e9  # of OPT-6.7B: two for each weight
PEER_PACKAGES = ("torch==2.13.0", "transformers", "accelerate")
DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


def checkpoint(arguments: argparse.Namespace, dtype: str) -> Path:
    return Path(arguments.data / f"{arguments.shape}-{dtype}")


def make(arguments: argparse.Namespace) -> None:
    for short, dtype in DTYPES.items():
        folder = checkpoint(arguments, short)
        if arguments.only and folder.name not in arguments.only:
            continue
        random_checkpoint.write_checkpoint(arguments.shape, dtype, folder)
        print(f"{folder.name} is there")


def results_of(arguments: argparse.Namespace) -> Results:
    shown = {
        str(arguments.data.resolve()): "DATA",
        str(arguments.data): "DATA",
        str(RESULTS.parents[1]): "REPOSITORY",
        sys.executable: "python",
    }
    if "venv" in arguments:
        shown |= {str(arguments.venv): "VENV", str(arguments.venv.resolve()): "VENV"}
    return Results(arguments.results, shown)


def measure(name: str, arguments: argparse.Namespace, run: Callable[[Path], Any]) -> None:
    """Runs one measurement and writes its result, unless there is one."""
    results = results_of(arguments)
    if arguments.only and name not in arguments.only:
        return
    if results.read(name) and not arguments.again:
        print(f"{name}: measured before")
        return
    print(f"{name}: measuring", flush=True)
    result = run(arguments.data / "jobs" / name)
    results.write(name, result)
    for criterion in result.get("criteria", []):
        verdict = "ok    " if criterion["met"] else "MISSED"
        shown = f"{criterion['value']:.6g} ({limit_text(criterion)})"
        print(f"  {verdict} {criterion['what']}: {shown}")
    print(f"{name}: {'FAILED, see' if result.get('failed') else 'in'} {name}.json", flush=True)


def job(
    arguments: argparse.Namespace, weights: str, sizes: tuple[str, float], rows: int
) -> our_job.Job:
    """An own job; `sizes` are the budget and the memory limit in GiB."""
    dtype = "bf16" if weights == "bf16" else "fp16"
    host_memory, limit = sizes
    return our_job.Job(
        model=checkpoint(arguments, dtype),
        weights="int4" if weights == "int4" else "auto",
        host_memory=host_memory,
        limit_bytes=int(limit * GIB),
        rows=rows,
        prompt=arguments.prompt_len,
        new=arguments.new,
    )


def budget(arguments: argparse.Namespace) -> None:
    """Items 4 and 5: budget and overlap; fp16 again with prompts spread over the disk's sweeps."""
    rows = arguments.rows or 64
    fp16, int4 = (
        job(arguments, weights, sizes, rows)
        for weights, sizes in (("fp16", ("3GiB", 3.5)), ("int4", ("1GiB", 1.5)))
    )
    measure("budget-fp16", arguments, partial(our_job.run, fp16))
    paced = replace(fp16, policy=json.dumps({"pace": arguments.pace}))
    measure("budget-fp16-paced", arguments, partial(our_job.run, paced))
    measure("budget-int4", arguments, partial(our_job.run, int4))


def throughput(chosen: our_job.Job, folder: Path) -> dict[str, Any]:
    """Runs the job and adds its share of the compute roofs: all tokens at a measured peak.

    Some processors multiply bf16 faster as fp32 than by their bf16 instruction, and some have tile
    registers beside, so all three are shown.
    """
    result = our_job.run(chosen, folder)
    if result.get("failed"):
        return result
    job, seconds = result["job"], result["outcome"]["wall_seconds"]
    operations = (job["prompt"] + job["new"]) * FLOP_A_TOKEN * job["rows"]
    for kind in ("bf16", "bf16_tile", "fp32"):
        peaks = [p.get(f"{kind}_operations") or 0 for p in result["peaks_before_after"]]
        peak = sum(peaks) / len(peaks)
        result["measured"][f"share_of_{kind}_peak"] = _ratio(operations / seconds, peak)
    return result


def peer_python(venv: Path) -> Path:
    """The Python of the peer's own environment, made when it is missing."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
    return python


def peers(arguments: argparse.Namespace) -> None:
    """Item 6: engine and peer in turns."""
    rows = arguments.rows or 256
    python = peer_python(arguments.venv)
    bf16 = job(arguments, "bf16", ("5.5GiB", 6.0), rows)
    int4 = replace(job(arguments, "int4", ("1.6GiB", 2.0), rows), kv="int8")
    ours = [("throughput-bf16", bf16), ("throughput-int4", int4)]
    for batch in arguments.batches:
        peer = peer_job.PeerJob(
            model=checkpoint(arguments, "bf16"),
            python=python,
            batch=batch,
            steps=arguments.steps,
            rows=rows,
            prompt=arguments.prompt_len,
            new=arguments.new,
            limit_bytes=6 * GIB,
        )
        measure(f"peer-accelerate-b{batch}", arguments, partial(peer_job.run, peer))
        if ours:
            name, chosen = ours.pop(0)
            measure(name, arguments, partial(throughput, chosen))
    summary(arguments)


def _rate(result: dict[str, Any]) -> float:
    extrapolated = result.get("extrapolated", {}).get("tokens_per_second", 0.0)
    return float(result.get("measured", {}).get("tokens_per_second_whole_command", extrapolated))


def compared(results: Results) -> dict[str, Any]:
    """Item 6 in figures; what has not been measured counts as 0."""
    names = ["throughput-bf16", "throughput-int4"]
    peer_names = sorted(path.stem for path in results.folder.glob("peer-accelerate-b*.json"))
    rates = {name: _rate(results.read(name)) for name in names + peer_names}
    best = max(peer_names, key=lambda name: rates[name], default="")
    bf16, int4 = (rates[name] for name in names)
    measured = results.read(names[0]).get("measured", {})
    over_bf16, over_fp32 = (measured.get(f"share_of_{kind}_peak", 0.0) for kind in ("bf16", "fp32"))
    over_32 = _ratio(bf16, rates.get("peer-accelerate-b32", 0.0))
    criteria = [
        Criterion("bf16 over the peer at batch 32", over_32, 4, at_most=False),
        Criterion(f"bf16 over {best}", _ratio(bf16, rates.get(best, 0.0)), 2, at_most=False),
        Criterion("share of the peak of bf16 dot products", over_bf16, 0.5, at_most=False),
        Criterion("share of the peak of fp32 FMA", over_fp32, 0.5, at_most=False),
        Criterion("int4 in 2 GiB over bf16 in 6 GiB", _ratio(int4, bf16), 1.6, at_most=False),
    ]
    return {"tokens_per_second": rates, "criteria": [one.to_json() for one in criteria]}


def summary(arguments: argparse.Namespace) -> None:
    """Compares what has been measured; prints a Markdown table and writes comparison.json."""
    results = results_of(arguments)
    comparison = compared(results)
    results.write("comparison", comparison)
    print("| run | tokens/s, whole job |\n|---|---:|")
    for name, rate in comparison["tokens_per_second"].items():
        print(f"| {name} | {f'{rate:.2f}' if rate else 'failed or not measured'} |")
    print("\n| criterion | value | limit | |\n|---|---:|---:|---|")
    for one in comparison["criteria"]:
        verdict = "met" if one["met"] else "missed" if one["value"] else "not measured"
        print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} | {verdict} |")


def _ratio(value: float, base: float) -> float:
    return value / base if base else 0.0


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--data", type=Path, default=RESULTS.parents[1] / "build" / "bench")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where JSON goes")
    parser.add_argument("--shape", default="opt-6.7b", help="another OPT shape, to try the script")
    parser.add_argument("--rows", type=int, default=0, help="0: 64 for budget, 256 for peers")
    parser.add_argument("--prompt-len", type=int, default=32)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--pace", type=int, default=60, help="of budget-fp16-paced, tokens")
    parser.add_argument("--only", action="append", help="a result's name; repeatable")
    parser.add_argument("--again", action="store_true", help="measure even what has a result")
    steps = parser.add_subparsers(dest="step", required=True)
    for step in (make, budget, summary):
        steps.add_parser(step.__name__, help=step.__doc__).set_defaults(run=step)
    peer = steps.add_parser("peers", help=peers.__doc__)
    peer.set_defaults(run=peers)
    peer.add_argument("--venv", type=Path, required=True, help="made with pip when missing")
    peer.add_argument("--steps", type=int, default=3, help="decode steps of the peer to measure")
    peer.add_argument("--batches", type=int, nargs="+", default=[32, 48, 64, 96])
    return parser.parse_args(given)


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the job ends with the script
    arguments.run(arguments)


if __name__ == "__main__":
    main()
