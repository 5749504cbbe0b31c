"""A Llama larger than memory beside llama.cpp, which maps its file, in the same memory. Root only.

    python benchmarks/beside_llama_cpp.py --model MODEL --llama FOLDER --venv PEERS --data FOLDER

MODEL is Llama-7B's shape in bf16 (random_checkpoint.py llama-7b bfloat16); FOLDER holds llama.cpp's
llama-batched-bench and llama-quantize; --venv is an environment with gguf, numpy, torch,
transformers and accelerate. GGUF files (fp16, Q4_0) are made in --data when missing: 18 GB, and 13
GB more while Accelerate runs. All decode after one prompt of about 128 tokens that every row shares
(of Accelerate, rows that are computed apart, but only decoding counts), inside a memory cgroup that
counts the page cache, from an empty one, in turns. Accelerate takes part where batches are equal.
Writes benchmarks/results/beside-llama-cpp.json after each case.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import memory_limit
import peer_job
from results import RESULTS, Criterion, Results, limit_text

_HERE = Path(__file__).parent
GIB = 1 << 30
FLOP_A_TOKEN = 13.2e9  # two for each weight of Llama-7B that is multiplied


@dataclass(frozen=True)
class Case:
    """One limit; batches of ours and of the peers', whose best rates are compared.

    Of a prompt of 129 tokens our rows share whole pages and compute one token each.
    """

    name: str
    weights: str
    kv: str
    gguf: str
    limit_gib: float
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    at_least: float  # our best over their best
    new: int = 4
    prompt: int = 128
    flags: tuple[str, ...] = ()  # of theirs
    device: str = "cpu"
    peak: str = ""  # of which our best has to reach a share
    share: float = 0.0
    over_busiest: float = 0.0  # at most, of our best
    accelerate: tuple[int, ...] = ()  # its batches

    @property
    def host_memory(self) -> str:
        """What the process itself takes is left out of the budget."""
        return f"{int(self.limit_gib * 1024 - 400)}MiB"


_FOUR_BIT_CACHE = ("-ctk", "q4_0", "-ctv", "q4_0", "-fa", "on")
_NO_TILES = "cpu:avx512bf16"  # as in in_memory.py
CASES = (
    Case(*("16-bit, batch 1", "auto", "auto", "f16", 6, (1,), (1,), 1.6), new=3, accelerate=(1,)),
    Case(*("16-bit, batch 8", "auto", "auto", "f16", 6, (8,), (8,), 1.6), new=3, accelerate=(8,)),
    Case(
        *("16-bit, batch 32", "auto", "auto", "f16", 6, (32,), (32,), 1.6), new=3, accelerate=(32,)
    ),
    Case(
        *("16-bit, best batch", "auto", "int4", "f16", 6, (256,), (64, 128), 2.5),
        flags=_FOUR_BIT_CACHE,
        peak="bf16_operations",
        share=0.5,
    ),
    Case(
        *("4-bit in 2 GiB, best batch", "int4", "int4", "q4_0", 2, (64,), (32, 64), 3.0),
        flags=(*_FOUR_BIT_CACHE, "--no-repack"),  # a repacked copy does not fit
        device=_NO_TILES,
        new=8,
        prompt=129,
        over_busiest=1.15,
    ),
    Case("4-bit, batch 8", "int4", "auto", "q4_0", 6, (8,), (8,), 1.5, new=16, device=_NO_TILES),
    Case(
        *("4-bit, best batch", "int4", "int4", "q4_0", 6, (64,), (32, 64), 3.0),
        new=24,
        prompt=129,
        flags=_FOUR_BIT_CACHE,
        device=_NO_TILES,
        peak="int8_operations",
        share=0.55,
    ),
)


class Bench:
    """The engines, inside a limit."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given = arguments
        self.folder: Path = arguments.data / "beside-llama-cpp"
        self.folder.mkdir(parents=True, exist_ok=True)

    def last_line(self, command: list[Any], case: Case, data: Path) -> dict[str, Any]:
        """The last JSON line the command prints, and how it went."""
        log = self.folder / "run.log"
        limit = int(case.limit_gib * GIB)
        outcome = memory_limit.run_limited(list(map(str, command)), limit, log, data, 1200)
        text = log.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.startswith("{")]
        went = outcome.to_json() | {"process_peaks": outcome.largest_process_bytes()}
        result: dict[str, Any] = {"outcome": went}
        if outcome.exit_code != 0 or not lines:
            return {**result, "rate": 0.0, "log": text[-2000:]}
        return {**result, **json.loads(lines[-1])}

    def ours(self, case: Case, batch: int) -> dict[str, Any]:
        model: Path = self.given.model
        cache = self.folder / "cache"
        if case.weights != "auto" and not cache.exists():  # packing is no part of decoding
            pack = [sys.executable, "-m", "penstock", "quantize", model]
            pack += ["--weights", case.weights, "--cache", cache]
            subprocess.run(list(map(str, pack)), check=True, capture_output=True)
        command = [sys.executable, _HERE / "decode_rate.py", "--model", model, "--cache", cache]
        command += ["--weights", case.weights, "--kv", case.kv, "--device", case.device]
        command += ["--host-memory", case.host_memory, "--batch", batch]
        command += ["--prompt", case.prompt, "--new", case.new]
        return {"batch": batch, **self.last_line(command, case, model)}

    def theirs(self, case: Case, batch: int) -> dict[str, Any]:
        gguf = self.gguf(case.gguf)
        threads = machine.facts()["cores"]
        command = [self.given.llama / "llama-batched-bench", "-m", gguf, "-t", threads]
        command += ["-tb", threads, "-c", batch * (case.prompt + case.new) + 256, "-b", 2048]
        command += ["-ub", 512, "-npp", case.prompt, "-ntg", case.new, "-npl", batch, "-pps"]
        command += ["--output-format", "jsonl", *case.flags]
        result = self.last_line(command, case, gguf)
        return {"batch": batch, "rate": result.get("speed_tg", 0.0), **result}

    def accelerate(self, case: Case, batch: int) -> dict[str, Any]:
        job = peer_job.PeerJob(
            model=self.given.model,
            python=self.given.venv / "bin" / "python",
            batch=batch,
            steps=case.new,
            rows=batch,
            prompt=case.prompt,
            new=case.new,
            limit_bytes=int(case.limit_gib * GIB),
        )
        result = peer_job.run(job, self.folder / "accelerate")
        steps = result.get("measured_peer", {}).get("step_seconds", [])
        return {**result, "rate": batch / statistics.median(steps) if steps else 0.0}

    def gguf(self, kind: str) -> Path:
        """The checkpoint as GGUF in fp16, or quantised from that by llama.cpp's own tool."""
        whole: Path = self.given.data / f"{self.given.model.name}-f16.gguf"
        if not whole.exists():
            script = _HERE / "peers" / "gguf_file.py"
            python = self.given.venv / "bin" / "python"
            subprocess.run([python, script, self.given.model, whole, "f16"], check=True)
        made: Path = self.given.data / f"{self.given.model.name}-{kind}.gguf"
        if not made.exists():
            tool = self.given.llama / "llama-quantize"
            subprocess.run([tool, "--pure", whole, made, kind], check=True, capture_output=True)
        return made


def shares_of_peak(case: Case, bench: Bench, batch: int) -> list[dict[str, float]]:
    """Ours between measurements of the peak, which other machines on the same host change."""
    shares = []
    before = machine.peaks()[case.peak]
    for _ in range(3):
        rate = bench.ours(case, batch)["rate"]
        after = machine.peaks()[case.peak]
        share = rate * FLOP_A_TOKEN / ((before + after) / 2)
        shares.append({"rate": rate, "peak_before": before, "peak_after": after, "share": share})
        before = after
    return shares


def measured(case: Case, bench: Bench) -> dict[str, Any]:
    """Engines in turns; our best beside the best of the peers."""
    result: dict[str, Any] = {"name": case.name, "case": vars(case)}
    sides = {"accelerate": case.accelerate, "theirs": case.theirs, "ours": case.ours}
    result |= {side: [] for side in sides}
    for index in range(max(map(len, sides.values()))):
        for side, batches in sides.items():
            if index < len(batches):
                one = getattr(bench, side)(case, batches[index])
                result[side].append(one)
                print(f"{case.name}: {side} at {batches[index]}: {one['rate']:.3f}", flush=True)
    ours = max(result["ours"], key=lambda one: one["rate"])
    theirs = max(one["rate"] for side in ("accelerate", "theirs") for one in result[side])
    ratio = ours["rate"] / theirs if theirs else 0.0
    criteria = [Criterion(f"{case.name}: over the best peer", ratio, case.at_least, False)]
    if case.peak:
        result["shares"] = shares_of_peak(case, bench, ours["batch"])
        share = statistics.median(one["share"] for one in result["shares"])
        criteria.append(Criterion(f"{case.name}: share of {case.peak}", share, case.share, False))
    if case.over_busiest:
        over = ours.get("seconds_over_busiest", 0.0)
        criteria.append(
            Criterion(f"{case.name}: seconds over busiest lane", over, case.over_busiest)
        )
    return {**result, "criteria": [one.to_json() for one in criteria]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "llama", "venv", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    names = [case.name for case in CASES]
    parser.add_argument("--only", action="append", choices=names, help="keeps the others")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    shown = {str(arguments.data): "DATA", str(arguments.model): "CHECKPOINT"}
    shown |= {str(RESULTS.parents[1]): "REPOSITORY", sys.executable: "python"}
    shown |= {str(arguments.venv): "VENV"}
    results = Results(replaced=shown)
    kept = {result["name"]: result for result in results.read("beside-llama-cpp").get("cases", [])}
    for case in CASES:
        if arguments.only and case.name not in arguments.only:
            continue
        kept[case.name] = measured(case, bench)
        cases = [kept[name] for name in names if name in kept]
        results.write("beside-llama-cpp", {"machine": machine.facts(), "cases": cases})
        for one in kept[case.name]["criteria"]:
            print(f"  {one['what']}: {one['value']:.3g} ({limit_text(one)})", flush=True)


if __name__ == "__main__":
    main()
