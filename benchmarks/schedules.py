"""Schedules against each other in one engine: FlexGen's, blocks of rows, and rows of all ages.

Also the same job on one accelerator and on two, as a pipeline.

    python benchmarks/schedules.py

On the virtual accelerator, whose links, compute and host attention are held to rates at which the
work of a small random model takes far less than its modelled time; so the figures are those of the
schedules, and hardly of this machine. Writes benchmarks/results/schedules.json. No root, no
download; `--only NAME` runs one comparison, `--scale` makes the modelled machine slower.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import random_checkpoint
from penstock.cli.bench import run_bench, scheduled_as
from penstock.cli.options import WorkloadArgs
from penstock.engine.native import native_core
from penstock.engine.planning import plan
from penstock.settings import EngineSettings
from results import Criterion, Results, limit_text

_VOCABULARY = 1024
_VALUE_BYTES = 2  # of weights, keys and values


@dataclass(frozen=True)
class Shape:
    """An OPT layer's figures."""

    hidden: int
    layers: int

    @property
    def layer_values(self) -> int:
        return 12 * self.hidden * self.hidden

    @property
    def token_flops(self) -> float:
        """Products of one token, all layers."""
        return 2.0 * self.layers * self.layer_values

    @property
    def key_bytes(self) -> float:
        """Of keys and values of one token, all layers."""
        return 2.0 * self.hidden * _VALUE_BYTES * self.layers

    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["OPTForCausalLM"],
            "model_type": "opt",
            "hidden_size": self.hidden,
            "ffn_dim": 4 * self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // 64,
            "vocab_size": _VOCABULARY,
            "max_position_embeddings": 2048,
            "word_embed_proj_dim": self.hidden,
            "activation_function": "relu",
            "do_layer_norm_before": True,
            "tie_word_embeddings": True,
            "torch_dtype": "float16",
        }


@dataclass(frozen=True)
class Run:
    """One way to do a comparison's job; `schedule` names a foreign one."""

    policy: dict[str, Any]
    schedule: str = ""
    device: str = "virtual"


@dataclass(frozen=True)
class Comparison:
    """Runs of one job on one modelled machine; the last is ours, its ratios are to the others."""

    about: str
    shape: Shape
    job: WorkloadArgs
    rates: dict[str, float]
    runs: dict[str, Run]
    at_least: dict[str, float] = field(default_factory=dict)
    most_over_busiest: float = 0


def modelled_machine(rates: dict[str, float]) -> dict[str, Any]:
    """What plans for lanes held to these rates: only products and attention take compute time."""
    flops, nothing = rates["gemm_flops_per_second"], 1e14
    products = [
        {"format": name, "rows": rows, "flops_per_second": flops}
        for name in ("fp16", "fp32")
        for rows in (1, 1024)
    ]
    return rates | {
        "gemm": products,
        "attention_flops_per_second": flops,
        "gemm_flops_per_second": nothing,
        "host_copy_bytes_per_second": nothing,
        "step_seconds": 10e-6,
    }


def settings_of(folder: Path, rates: dict[str, float], run: Run, prompt: int) -> EngineSettings:
    settings = EngineSettings.make(
        folder,
        device=run.device,
        host_memory="1GiB",
        device_memory="1GiB",
        policy=run.policy,
        throttle=rates,
        machine=modelled_machine(rates),
    )
    return scheduled_as(settings, run.schedule, prompt) if run.schedule else settings


def kv_bytes(settings: EngineSettings, job: WorkloadArgs) -> int:
    """Of all tiers, as planned."""
    lengths = job.workload()
    items = plan(native_core(), settings, lengths)["memory"]
    return sum(item["bytes"] for item in items if item["label"] == "kv")


def measure(settings: EngineSettings, job: WorkloadArgs) -> dict[str, Any]:
    report = run_bench(settings, job.workload())
    stats = report["stats"]
    busy = {name: lane["busy_seconds"] for name, lane in stats["lanes"].items()}
    busiest = max(busy, key=lambda name: busy[name])
    return {
        "seconds": stats["seconds"],
        "tokens_per_second": report["generated_tokens"] / stats["seconds"],
        "sweeps": stats["sweeps"],
        "busiest": busiest,
        "seconds_over_busiest": stats["seconds"] / busy[busiest],
        "seconds_over_busiest_of_each_sweep": stats["seconds"] / stats["busiest_seconds"],
        "busy_seconds": busy,
        "bytes": {name: lane["bytes"] for name, lane in stats["lanes"].items()},
        "kv_bytes": kv_bytes(settings, job),
        "policy": report["engine"]["policy"],
    }


def overlap(scale: float) -> Comparison:
    """Weights from host memory whose time is that of all micro-batches together."""
    shape, gbs, batches = Shape(256, 24), 16, 4
    layer = 0.020 * scale  # seconds of a layer's weights, and of its micro-batches
    rates = {
        "h2d_bytes_per_second": shape.layer_values * _VALUE_BYTES / layer,
        "gemm_flops_per_second": batches * gbs * 2 * shape.layer_values / layer,
    }
    policy = {
        "weight_share": {"host": 1},
        "kv_share": {"device": 1},
        "activation_share": {"device": 1},
        "micro_batch": gbs,
        "micro_batches": batches,
        "prefill_chunk": gbs * 8,
    }
    return Comparison(
        "weights take as long as the micro-batches that share them",
        shape,
        WorkloadArgs(gbs * batches, 8, 32),
        rates,
        {"flexgen": Run(policy, "flexgen"), "ours": Run(policy)},
        {"flexgen": 1.3},
    )


def ages(scale: float) -> Comparison:
    """128 + 128 tokens, many times the rows that KV memory holds as a block."""
    shape, rows = Shape(128, 12), 16
    sweep = 0.024 * scale  # seconds of the weights; the tokens of a block take a quarter of it
    rates = {
        "h2d_bytes_per_second": shape.layers * shape.layer_values * _VALUE_BYTES / sweep,
        "gemm_flops_per_second": 4 * rows * shape.token_flops / sweep,
    }
    shared = {
        "weight_share": {"host": 1},
        "kv_share": {"device": 1},
        "activation_share": {"device": 1},
    }
    block = shared | {"micro_batch": rows // 4, "micro_batches": 4, "prefill_chunk": 128 * 4}
    ours = shared | {"micro_batch": 5, "micro_batches": 5, "prefill_chunk": 64, "pace": 19}
    ours["max_sequences"] = 19
    return Comparison(
        "128 + 128 tokens, KV memory for a part of the rows",
        shape,
        WorkloadArgs(24 * rows, 128, 128),
        rates,
        {
            "flexgen": Run(block, "flexgen"),
            "block": Run(block | {"admission": "block"}),
            "ours": Run(ours),
        },
        {"block": 1.25},
    )


def phases(scale: float) -> Comparison:
    """512 + 32 tokens: prompts keep the device busy for as long as decoding keeps the host.

    Both run in the KV memory of one block. Many layers and seconds: what the schedules differ in
    should be larger than filling the pipeline once a sweep (a layer of all), and than the threads
    that hand work from lane to lane (tens of microseconds, four times a layer).
    """
    shape, rows = Shape(128, 48), 8
    prefill = 12.0 * scale  # seconds of a block's prompts
    prompt_flops = 512 * shape.token_flops + 4 * shape.hidden * shape.layers * 512 * 513 / 2
    decode_bytes = sum((512 + i) * shape.key_bytes for i in range(1, 32))
    rates = {
        "h2d_bytes_per_second": shape.layers * shape.layer_values * _VALUE_BYTES / (0.12 * scale),
        "gemm_flops_per_second": rows * prompt_flops / prefill,
        "host_attention_bytes_per_second": rows * decode_bytes / prefill,
    }
    shared = {
        "weight_share": {"host": 1},
        "kv_share": {"host": 1},
        "activation_share": {"device": 1},
        "host_attention": True,
    }
    block = shared | {"micro_batch": rows // 4, "micro_batches": 4, "prefill_chunk": 512 * 2}
    ours = shared | {"micro_batch": 6, "micro_batches": 2, "prefill_chunk": 50, "pace": 100}
    ours |= {"max_sequences": rows, "micro_batch_tokens": 86}
    return Comparison(
        "512 + 32 tokens, host attention, as much time for prompts as for decoding",
        shape,
        WorkloadArgs(25 * rows, 512, 32),
        rates,
        {
            "block": Run(block | {"admission": "block"}),
            "ours": Run(ours),
        },
        {"block": 1.7},
        1.10,
    )


def pipeline(scale: float) -> Comparison:
    """Everything in the memory of the devices, which compute all the time."""
    shape, rows = Shape(128, 24), 32
    sweep = 0.12 * scale  # seconds of a token of every row
    rates = {"gemm_flops_per_second": rows * shape.token_flops / sweep}
    shared: dict[str, Any] = {
        name: {"device": 1} for name in ("weight_share", "kv_share", "activation_share")
    }
    shared |= {"max_sequences": rows, "micro_batch": rows // 2, "micro_batch_tokens": rows // 2}
    return Comparison(
        "one accelerator, and two that have half of the layers each",
        shape,
        WorkloadArgs(2 * rows, 8, 48),
        rates,
        {
            "one device": Run(shared | {"micro_batches": 2}),
            "ours": Run(shared | {"micro_batches": 1}, device="virtual,virtual"),
        },
        {"one device": 1.8},
    )


COMPARISONS: dict[str, Callable[[float], Comparison]] = {
    "overlap": overlap,
    "ages": ages,
    "phases": phases,
    "pipeline": pipeline,
}


def compare(name: str, it: Comparison, scratch: Path, only: str = "") -> dict[str, Any]:
    """Measures every run; shows a row of the table for each."""
    folder = scratch / f"opt-{it.shape.layers}x{it.shape.hidden}"
    random_checkpoint.write_model(it.shape.config(), folder, tell=lambda _: None)
    runs: dict[str, dict[str, Any]] = {}
    for label, run in it.runs.items():
        if only and label != only:
            continue
        settings = settings_of(folder, it.rates, run, it.job.prompt_len)
        result = runs[label] = measure(settings, it.job)
        print(
            f"| {name} | {label} | {result['seconds']:.1f} | {result['tokens_per_second']:.1f} "
            f"| {result['busiest']} | {result['seconds_over_busiest']:.3f} | {result['sweeps']} "
            f"| {result['kv_bytes'] / 1e6:.1f} |",
            flush=True,
        )
    if only:
        return {"runs": runs}
    ours = runs["ours"]
    ratios = {label: runs[label]["seconds"] / ours["seconds"] for label in it.runs}
    criteria = [
        Criterion(f"{name}: tokens per second, of those of {label}", ratios[label], limit, False)
        for label, limit in it.at_least.items()
    ]
    if it.most_over_busiest:
        over = ours["seconds_over_busiest"]
        criteria.append(Criterion(f"{name}: seconds over the busiest lane's", over, 1.10))
    return {
        "about": it.about,
        "model": vars(it.shape),
        "job": vars(it.job),
        "rates": it.rates,
        "runs": runs,
        "ratios": ratios,
        "criteria": [criterion.to_json() for criterion in criteria],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(COMPARISONS))
    parser.add_argument("--run", default="", help="only this run of each; writes nothing")
    parser.add_argument("--scale", type=float, default=1.0, help="slows the modelled machine")
    arguments = parser.parse_args()
    results, facts = Results(), machine.facts()
    kept = results.read("schedules").get("comparisons", {}) if arguments.only else {}
    print("| comparison | run | s | tokens/s | busiest lane | s over it | sweeps | KV, MB |")
    print("|---|---|---:|---:|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.only or COMPARISONS:
            it = COMPARISONS[name](arguments.scale)
            kept[name] = compare(name, it, Path(scratch), arguments.run)
    if arguments.run:
        print(json.dumps(kept, indent=1), file=sys.stderr)
        return
    results.write("schedules", {"machine": facts, "scale": arguments.scale, "comparisons": kept})
    print("\n| | value | limit |\n|---|---:|---|")
    for comparison in kept.values():
        for one in comparison["criteria"]:
            print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} |")


if __name__ == "__main__":
    main()
