"""Whole models in RAM against other engines: prefill and decode of Llama-3.2-1B's shape.

    python benchmarks/in_memory.py --model CHECKPOINT --llama FOLDER --venv PEERS --data FOLDER

CHECKPOINT is a bf16 Llama in safetensors (random weights do), FOLDER holds llama.cpp's
llama-batched-bench and llama-quantize, built with native flags; PEERS is an environment with torch,
transformers, gguf and numpy. GGUF files are made in --data when missing. Engines take turns within
each row of the table, all on the same threads; decoding goes on from one prompt of 512 tokens,
whose cache every sequence has, so that a figure is of decoding alone. Medians of --runs. Writes
benchmarks/results/in-memory.json.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
from penstock import LLM, SamplingParams
from results import Criterion, Results, limit_text

_HERE = Path(__file__).parent
_VOCABULARY = 100000
_HOST_MEMORY = "8GiB"

Rates = dict[str, list[float]]  # of "prefill 1", "decode 8", ...


@dataclass(frozen=True)
class Job:
    """Token counts, batches of decoding, threads and repetitions."""

    prompt: int
    new: int
    batches: tuple[int, ...]
    threads: int
    runs: int
    device: str


@dataclass(frozen=True)
class Pair:
    """Our weights beside a peer's, and by how much we ought to be faster."""

    ours: str
    theirs: str
    at_least: dict[str, float]
    device: str = ""  # of ours; else the job's


PAIRS = (
    Pair(
        "int4",
        "q4_0",
        {"prefill 1": 2.2, "decode 1": 1.25, "decode 8": 2.0, "decode 32": 2.3, "decode 64": 2.5},
    ),
    Pair("int8", "q8_0", {"prefill 1": 2.6, "decode 32": 2.5}),
    Pair("auto", "bf16", {"prefill 1": 1.1, "decode 32": 1.5}),
    Pair("auto", "transformers", {"prefill 1": 1.0}, "cpu"),  # both with tiles where there are any
)


def ours(model: Path, weights: str, job: Job, batch: int) -> Rates:
    """One engine for the batch; prompts differ from run to run, and are shared by its rows."""
    chosen = random.Random(3)
    rates: Rates = {}

    def seconds(rows: int, new: int, prompt: Sequence[int]) -> float:
        params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
        begin = time.monotonic()
        llm.generate([list(prompt)] * rows, params)
        return time.monotonic() - begin

    settings = {"host_memory": _HOST_MEMORY, "threads": job.threads, "device": job.device}
    with LLM(model, weights=weights, **settings) as llm:
        for run in range(job.runs + 1):
            prompt = [chosen.randrange(4, _VOCABULARY) for _ in range(job.prompt)]
            whole = seconds(batch, job.new + 1, prompt)
            first = seconds(batch, 1, prompt)
            if run == 0:
                continue  # opened the engine
            rates.setdefault(f"decode {batch}", []).append(batch * job.new / (whole - first))
            if batch == 1:
                rates.setdefault("prefill 1", []).append(job.prompt / first)
    return rates


def llama_cpp(folder: Path, gguf: Path, job: Job, batch: int) -> Rates:
    """llama-batched-bench with the prompt's cache copied to every sequence."""
    rates: Rates = {}
    context = batch * (job.prompt + job.new) + 256
    command = [folder / "llama-batched-bench", "-m", gguf, "-t", job.threads, "-tb", job.threads]
    command += ["-c", context, "-b", 4096, "-ub", 512, "-npp", job.prompt, "-ntg", job.new]
    command += ["-npl", batch, "-pps", "--output-format", "jsonl"]
    for _ in range(job.runs):
        told = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        lines = [line for line in told.stdout.splitlines() if line.startswith("{")]
        result = json.loads(lines[-1])
        rates.setdefault(f"decode {batch}", []).append(result["speed_tg"])
        if batch == 1:
            rates.setdefault("prefill 1", []).append(result["speed_pp"])
    return rates


def transformers(python: Path, model: Path, job: Job, batch: int) -> Rates:
    script = _HERE / "peers" / "transformers_in_memory.py"
    command = [python, script, "--model", model, "--prompt", job.prompt, "--new", job.new]
    command += ["--threads", job.threads, "--batches", batch]
    told = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    rates: Rates = {}
    for line in told.stdout.splitlines():
        if not line.startswith("{"):
            continue
        one = json.loads(line)
        if one["what"] == "decode" or batch == 1:
            rates.setdefault(f"{one['what']} {one['batch']}", []).append(one["rate"])
    return rates


def gguf_of(arguments: argparse.Namespace, kind: str) -> Path:
    """The checkpoint as GGUF, in bf16 or quantised by llama.cpp's own tool, all tensors alike."""
    whole: Path = arguments.data / f"{arguments.model.name}-bf16.gguf"
    if not whole.exists():
        python = arguments.venv / "bin" / "python"
        script = _HERE / "peers" / "gguf_file.py"
        subprocess.run([python, script, arguments.model, whole], check=True)
    made: Path = arguments.data / f"{arguments.model.name}-{kind}.gguf"
    if not made.exists():
        tool = arguments.llama / "llama-quantize"
        subprocess.run([tool, "--pure", whole, made, kind], check=True, capture_output=True)
    return made


def compare(pair: Pair, job: Job, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both engines in turns, batch by batch; the rows of the table."""
    told: dict[str, Any] = {"ours": pair.ours, "theirs": pair.theirs, "rates": {}}
    told["device"] = pair.device or job.device
    for batch in job.batches:
        if batch > 1 and not any(what == f"decode {batch}" for what in pair.at_least):
            continue
        if pair.theirs == "transformers":
            python = arguments.venv / "bin" / "python"
            peer = transformers(python, arguments.model, job, batch)
        else:
            peer = llama_cpp(arguments.llama, gguf_of(arguments, pair.theirs), job, batch)
        own_job = replace(job, device=pair.device or job.device)
        own = ours(arguments.model, pair.ours, own_job, batch)
        for what in own:
            mine, theirs = statistics.median(own[what]), statistics.median(peer[what])
            limit = pair.at_least.get(what)
            shown = f">= {limit}" if limit else ""
            print(
                f"| {what} | {pair.ours} | {mine:.1f} | {pair.theirs} | {theirs:.1f} "
                f"| {mine / theirs:.2f} | {shown} |",
                flush=True,
            )
            told["rates"][what] = {"ours": own[what], "theirs": peer[what], "ratio": mine / theirs}
    return told


def criteria_of(pair: Pair, told: dict[str, Any]) -> list[Criterion]:
    return [
        Criterion(
            f"{pair.ours} against {pair.theirs}: {what}", told["rates"][what]["ratio"], limit, False
        )
        for what, limit in pair.at_least.items()
        if what in told["rates"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--llama", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu:avx512bf16 leaves out tile registers")
    parser.add_argument("--only", action="append", help="a peer: q4_0, q8_0, bf16, transformers")
    arguments = parser.parse_args()
    job = Job(
        arguments.prompt,
        arguments.new,
        tuple(arguments.batches),
        arguments.threads,
        arguments.runs,
        arguments.device,
    )
    print("| | ours | tokens/s | peer | tokens/s | ratio | wanted |")
    print("|---|---|---:|---|---:|---:|---|")
    kept = {told["theirs"]: told for told in Results().read("in-memory").get("pairs", [])}
    for pair in PAIRS:
        if not arguments.only or pair.theirs in arguments.only:
            kept[pair.theirs] = compare(pair, job, arguments)
    pairs = [kept[pair.theirs] for pair in PAIRS if pair.theirs in kept]
    criteria = [
        one.to_json()
        for pair in PAIRS
        if pair.theirs in kept
        for one in criteria_of(pair, kept[pair.theirs])
    ]
    result = {
        "machine": machine.facts(),
        "model": arguments.model.name,
        "job": vars(job),
        "pairs": pairs,
        "criteria": criteria,
    }
    Results().write("in-memory", result)
    for one in criteria:
        print(f"{one['what']}: {one['value']:.3g} ({limit_text(one)})", file=sys.stderr)


if __name__ == "__main__":
    main()
