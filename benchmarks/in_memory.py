"""Whole models in RAM against other engines: prefill and decode of Llama-3.2-1B's and OPT's shape.

    python benchmarks/in_memory.py --model CHECKPOINT --opt CHECKPOINT --llama FOLDER \
        --venv PEERS --openvino PEERS --data FOLDER

The first checkpoint is a bf16 Llama in safetensors, the second an OPT-1.3B (random weights do; see
random_checkpoint.py). FOLDER holds llama.cpp's llama-batched-bench and llama-quantize, built with
native flags; --venv is an environment with torch, transformers, gguf, numpy and ctranslate2,
--openvino one with torch, optimum-intel, nncf and openvino. Converted models are made in --data
when missing. Engines take turns within each row of the table, all on the same threads; decoding
goes on from one prompt of 512 tokens, whose cache every sequence has, so that a figure is of
decoding alone. With --device cpu:ISA other engines are asked to leave tile registers alone too.
Medians of --runs. Writes benchmarks/results/NAME.json.
"""

import argparse
import json
import os
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
_HOST_MEMORY = "8GiB"
_GGUF_KINDS = ("q4_0", "q8_0", "bf16")

Rates = dict[str, list[float]]  # of "prefill 1", "decode 8", ...


@dataclass(frozen=True)
class Job:
    """Token counts, threads, repetitions and our device."""

    prompt: int
    new: int
    threads: int
    runs: int
    device: str


@dataclass(frozen=True)
class Pair:
    """Our weights beside a peer's, and by how much we ought to be faster (0: shown only)."""

    ours: str
    theirs: str
    at_least: dict[str, float]
    device: str = ""  # of ours; else the job's
    model: str = "model"  # or "opt"

    def batches(self, what: str) -> list[int]:
        """Of "prefill" or "decode"."""
        named = [name.split() for name in self.at_least]
        return [int(batch) for kind, batch in named if kind == what]


PAIRS = (
    Pair(
        "int4",
        "q4_0",
        {"prefill 1": 2.2, "decode 1": 1.25, "decode 8": 2.0, "decode 32": 2.3, "decode 64": 2.5},
    ),
    Pair("int8", "q8_0", {"prefill 1": 2.6, "decode 1": 0, "decode 32": 2.5}),
    Pair("auto", "bf16", {"prefill 1": 1.1, "decode 1": 0, "decode 32": 1.5}),
    # Both with tiles where there are any.
    Pair("auto", "transformers", {"prefill 1": 1.0, "decode 1": 0}, "cpu"),
    Pair("int8", "openvino int8", {"prefill 1": 0, "decode 1": 0, "decode 8": 0}, "cpu"),
    Pair("int4", "openvino int4", {"prefill 1": 0, "decode 1": 0, "decode 8": 0}, "cpu"),
    Pair(
        "int8",
        "ctranslate2",
        {"prefill 1": 1.05, "prefill 8": 1.2, "decode 1": 3.0, "decode 8": 5.0, "decode 32": 7.0},
        model="opt",
    ),
)
# Peers that a script measures: the option that names their environment, and the script.
_SCRIPTS = {
    "transformers": ("venv", ["transformers_in_memory.py"]),
    "ctranslate2": ("venv", ["ctranslate2_in_memory.py"]),
    "openvino int8": ("openvino", ["openvino_in_memory.py", "--bits", 8]),
    "openvino int4": ("openvino", ["openvino_in_memory.py", "--bits", 4]),
}
# For engines that would use tile registers when ours is not to.
_WITHOUT_TILES = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "MKL_ENABLE_INSTRUCTIONS": "AVX512_E3"}


def ours(model: Path, pair: Pair, job: Job, batch: int) -> Rates:
    """One engine for the batch. Prompts differ from run to run; rows that decode share one."""
    chosen = random.Random(3)
    rates: Rates = {}

    def seconds(new: int, prompts: Sequence[Sequence[int]]) -> float:
        params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
        begin = time.monotonic()
        llm.generate([list(prompt) for prompt in prompts], params)
        return time.monotonic() - begin

    def new_prompts(count: int) -> list[list[int]]:
        return [[chosen.randrange(4, vocabulary) for _ in range(job.prompt)] for _ in range(count)]

    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    settings = {"host_memory": _HOST_MEMORY, "threads": job.threads, "device": job.device}
    with LLM(model, weights=pair.ours, **settings) as llm:
        for run in range(job.runs + 1):
            found: dict[str, float] = {}
            if batch in pair.batches("prefill"):
                prompts = new_prompts(batch)
                found[f"prefill {batch}"] = batch * job.prompt / seconds(1, prompts)
            if batch in pair.batches("decode"):
                prompts = new_prompts(1) * batch
                whole, first = seconds(job.new + 1, prompts), seconds(1, prompts)
                found[f"decode {batch}"] = batch * job.new / (whole - first)
            for what, rate in found.items() if run > 0 else ():  # the first opened the engine
                rates.setdefault(what, []).append(rate)
    return rates


def llama_cpp(folder: Path, gguf: Path, job: Job, batch: int) -> Rates:
    """llama-batched-bench with the prompt's cache copied to every sequence."""
    rates: Rates = {}
    context = batch * (job.prompt + job.new) + 256
    command = [folder / "llama-batched-bench", "-m", gguf, "-t", job.threads, "-tb", job.threads]
    command += ["-c", context, "-b", 4096, "-ub", 512, "-npp", job.prompt, "-ntg", job.new]
    command += ["-npl", batch, "-pps", "--output-format", "jsonl"]
    for _ in range(job.runs):
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        result = json.loads(lines[-1])
        rates.setdefault(f"decode {batch}", []).append(result["speed_tg"])
        if batch == 1:
            rates.setdefault("prefill 1", []).append(result["speed_pp"])
    return rates


def script(python: Path, command: Sequence[Any], job: Job, without_tiles: bool) -> Rates:
    """A script of benchmarks/peers in an environment of its own."""
    name, *rest = command
    rest += ["--prompt", job.prompt, "--new", job.new, "--threads", job.threads]
    rest += ["--runs", job.runs]
    asked = [python / "bin" / "python", _HERE / "peers" / name, *rest]
    environment = os.environ | (_WITHOUT_TILES if without_tiles else {})
    done = subprocess.run(
        list(map(str, asked)), check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    rates: Rates = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            one = json.loads(line)
            rates.setdefault(f"{one['what']} {one['batch']}", []).append(one["rate"])
    return rates


def theirs(pair: Pair, job: Job, arguments: argparse.Namespace, batch: int) -> Rates:
    if pair.theirs in _GGUF_KINDS:
        return llama_cpp(arguments.llama, gguf_of(arguments, pair.theirs), job, batch)
    environment, asked = _SCRIPTS[pair.theirs]
    command = [*asked, "--model", getattr(arguments, pair.model), "--data", arguments.data]
    for what in ("prefill", "decode"):
        if batch in pair.batches(what):
            command += [f"--{what}", batch]
    python: Path = getattr(arguments, environment)
    return script(python, command, job, without_tiles=job.device != "cpu")


def gguf_of(arguments: argparse.Namespace, kind: str) -> Path:
    """The checkpoint as GGUF, in bf16 or quantised by llama.cpp's own tool, all tensors alike."""
    whole: Path = arguments.data / f"{arguments.model.name}-bf16.gguf"
    if not whole.exists():
        python = arguments.venv / "bin" / "python"
        script = _HERE / "peers" / "gguf_file.py"
        subprocess.run([python, script, arguments.model, whole, "bf16"], check=True)
    made: Path = arguments.data / f"{arguments.model.name}-{kind}.gguf"
    if not made.exists():
        tool = arguments.llama / "llama-quantize"
        subprocess.run([tool, "--pure", whole, made, kind], check=True, capture_output=True)
    return made


def compare(pair: Pair, job: Job, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both engines in turns, batch by batch; the rows of the table."""
    model: Path = getattr(arguments, pair.model)
    result: dict[str, Any] = {"model": model.name, "ours": pair.ours, "theirs": pair.theirs}
    result |= {"machine": machine.facts(), "device": job.device, "rates": {}}
    for batch in sorted({*pair.batches("prefill"), *pair.batches("decode")}):
        peer, own = theirs(pair, job, arguments, batch), ours(model, pair, job, batch)
        for what in own:
            mine, other = statistics.median(own[what]), statistics.median(peer[what])
            limit = pair.at_least[what]
            shown = f">= {limit}" if limit else ""
            print(
                f"| {what} | {pair.ours} | {mine:.1f} | {pair.theirs} | {other:.1f} "
                f"| {mine / other:.2f} | {shown} |",
                flush=True,
            )
            result["rates"][what] = {"ours": own[what], "theirs": peer[what], "ratio": mine / other}
    return result


def result_of(job: Job, measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result file of the pairs measured so far, by peer."""
    pairs = [pair for pair in PAIRS if pair.theirs in measured]
    criteria = [one for pair in pairs for one in criteria_of(pair, measured[pair.theirs])]
    return {
        "job": vars(job),
        "pairs": [measured[pair.theirs] for pair in pairs],
        "criteria": [one.to_json() for one in criteria],
    }


def criteria_of(pair: Pair, result: dict[str, Any]) -> list[Criterion]:
    return [
        Criterion(
            f"{pair.ours} against {pair.theirs}: {what}",
            result["rates"][what]["ratio"],
            limit,
            False,
        )
        for what, limit in pair.at_least.items()
        if limit and what in result["rates"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "opt", "llama", "venv", "openvino", "data"):
        parser.add_argument(f"--{name}", type=Path, required=name in ("model", "data"))
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu:avx512bf16 leaves out tile registers")
    peers = [pair.theirs for pair in PAIRS]
    parser.add_argument("--only", action="append", choices=peers, help="keeps the others' figures")
    parser.add_argument("--name", default="in-memory", help="of the result; one for each machine")
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    job = Job(
        arguments.prompt,
        arguments.new,
        arguments.threads,
        arguments.runs,
        arguments.device,
    )
    print("| | ours | tokens/s | peer | tokens/s | ratio | wanted |")
    print("|---|---|---:|---|---:|---:|---|")
    kept = {found["theirs"]: found for found in Results().read(arguments.name).get("pairs", [])}
    for pair in PAIRS:
        if not arguments.only or pair.theirs in arguments.only:
            own_job = replace(job, device=pair.device or job.device)
            kept[pair.theirs] = compare(pair, own_job, arguments)
            # What is measured is kept if the next one fails.
            Results().write(arguments.name, result_of(job, kept))
    for one in result_of(job, kept)["criteria"]:
        print(f"{one['what']}: {one['value']:.3g} ({limit_text(one)})", file=sys.stderr)


if __name__ == "__main__":
    main()
