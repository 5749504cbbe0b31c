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
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import opt_checkpoint
import our_job
import peer_job
import results
from results import Criterion

GIB = 1 << 30
FLOP_A_TOKEN = 13.4e9  # of OPT-6.7B: two for each weight
PEER_PACKAGES = ("torch==2.13.0", "transformers", "accelerate")
DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


def checkpoint(arguments: argparse.Namespace, dtype: str) -> Path:
    return Path(arguments.data / f"{arguments.shape}-{dtype}")


def make(arguments: argparse.Namespace) -> None:
    for short, dtype in DTYPES.items():
        folder = checkpoint(arguments, short)
        opt_checkpoint.write_checkpoint(arguments.shape, dtype, folder)
        print(f"{folder.name} is there")


def measure(name: str, arguments: argparse.Namespace, run: Callable[[Path], Any]) -> None:
    """Runs one measurement and writes its result, unless there is one."""
    if arguments.only and name not in arguments.only:
        return
    if results.read(name) and not arguments.again:
        print(f"{name}: measured before")
        return
    print(f"{name}: measuring", flush=True)
    result = run(arguments.data / "jobs" / name)
    replaced = {
        str(arguments.data.resolve()): "DATA",
        str(arguments.data): "DATA",
        str(results.RESULTS.parents[1]): "REPOSITORY",
        sys.executable: "python",
    }
    if "venv" in arguments and arguments.venv:
        replaced |= {str(arguments.venv): "VENV", str(arguments.venv.resolve()): "VENV"}
    path = results.write(name, result, replaced)
    for criterion in result.get("criteria", []):
        verdict = "ok    " if criterion["met"] else "MISSED"
        print(
            f"  {verdict} {criterion['what']}: {criterion['value']:.6g} / {criterion['limit']:.6g}"
        )
    print(f"{name}: {'FAILED, see ' if result.get('failed') else ''}{path.name}", flush=True)


def job(arguments: argparse.Namespace, weights: str, sizes: tuple[str, float], rows: int) -> Any:
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
    """Items 4 and 5: budget and overlap."""
    for weights, sizes in (("fp16", ("3GiB", 3.5)), ("int4", ("1GiB", 1.5))):
        chosen = job(arguments, weights, sizes, arguments.rows or 64)
        measure(
            f"budget-{weights}",
            arguments,
            lambda folder, chosen=chosen: our_job.run(chosen, folder),
        )


def throughput(chosen: our_job.Job, folder: Path) -> dict[str, Any]:
    """Runs the job and adds the share of the compute roof: all tokens at the measured bf16 peak."""
    result = our_job.run(chosen, folder)
    if result.get("failed"):
        return result
    told, seconds = result["job"], result["outcome"]["wall_seconds"]
    peaks = [p["bf16_operations"] or p["fp32_operations"] for p in result["peaks_before_after"]]
    peak = sum(peaks) / len(peaks)
    operations = (told["prompt"] + told["new"]) * FLOP_A_TOKEN * told["rows"]
    result["measured"]["compute_peak_operations"] = peak
    result["measured"]["compute_roof_share"] = operations / seconds / peak
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
    ours = [("bf16", ("5.5GiB", 6.0)), ("int4", ("1.6GiB", 2.0))]
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
            weights, sizes = ours.pop(0)
            chosen = job(arguments, weights, sizes, rows)
            measure(f"throughput-{weights}", arguments, partial(throughput, chosen))
    summary(arguments)


def _rate(name: str) -> float:
    result = results.read(name)
    told = result.get("extrapolated", {}).get("tokens_per_second", 0.0)
    return float(result.get("measured", {}).get("tokens_per_second_whole_command", told))


def summary(arguments: argparse.Namespace) -> None:
    """Compares what has been measured; prints a Markdown table and writes comparison.json."""
    found = sorted(results.RESULTS.glob("peer-accelerate-b*.json"))
    peer_rates = {path.stem: _rate(path.stem) for path in found}
    rates = {name: _rate(name) for name in ("throughput-bf16", "throughput-int4")}
    best = max(peer_rates, key=lambda name: peer_rates[name], default="")
    bf16 = results.read("throughput-bf16").get("measured", {})
    roof = bf16.get("compute_roof_share", 0.0)
    over_32 = _ratio(rates["throughput-bf16"], peer_rates.get("peer-accelerate-b32", 0.0))
    over_best = _ratio(rates["throughput-bf16"], peer_rates.get(best, 0.0))
    int4 = _ratio(rates["throughput-int4"], rates["throughput-bf16"])
    criteria = [
        Criterion("bf16 over the peer at batch 32", over_32, 4, at_most=False),
        Criterion("bf16 over the peer's best batch", over_best, 2, at_most=False),
        Criterion("share of the compute roof", roof, 0.5, at_most=False),
        Criterion("int4 in 2 GiB over bf16 in 6 GiB", int4, 1.6, at_most=False),
    ]
    told = [criterion.to_json() for criterion in criteria]
    all_rates = {**rates, **peer_rates}
    results.write(
        "comparison", {"tokens_per_second": all_rates, "best_peer": best, "criteria": told}, {}
    )
    print("| run | tokens/s, whole job |\n|---|---:|")
    for name, rate in all_rates.items():
        print(f"| {name} | {f'{rate:.2f}' if rate else 'failed or not measured'} |")
    print("\n| criterion | value | limit | |\n|---|---:|---:|---|")
    for one in told:
        verdict = "met" if one["met"] else "missed"
        limit = results.limit_text(one)
        print(f"| {one['what']} | {one['value']:.3g} | {limit} | {verdict} |")


def _ratio(value: float, base: float) -> float:
    return value / base if base else 0.0


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--data", type=Path, default=results.RESULTS.parents[1] / "build" / "bench")
    parser.add_argument("--shape", default="opt-6.7b", help="another OPT shape, to try the script")
    parser.add_argument("--rows", type=int, default=0, help="0: 64 for budget, 256 for peers")
    parser.add_argument("--prompt-len", type=int, default=32)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--only", action="append", help="a result's name; repeatable")
    parser.add_argument("--again", action="store_true", help="measure even what has a result")
    steps = parser.add_subparsers(dest="step", required=True)
    for step in (make, budget, summary):
        steps.add_parser(step.__name__, help=step.__doc__).set_defaults(run=step)
    peer = steps.add_parser("peers", help=peers.__doc__)
    peer.set_defaults(run=peers)
    peer.add_argument("--venv", type=Path, required=True, help="made with pip when missing")
    peer.add_argument("--steps", type=int, default=3, help="decode steps of the peer to measure")
    peer.add_argument("--batches", type=int, nargs="+", default=[32, 64, 96, 128])
    return parser.parse_args(given)


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the job ends with the script
    arguments.run(arguments)


if __name__ == "__main__":
    main()
