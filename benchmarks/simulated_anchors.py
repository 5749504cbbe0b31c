"""FlexGen's published workloads on the T4 that it was measured on, simulated: ours, and as FlexGen.

    python benchmarks/simulated_anchors.py

Nothing is run but the dry run: sweeps planned, built and timed on a machine file. Ours is what our
planner chooses on the shipped T4. "As FlexGen" is FlexGen's own policy (shares, batches, whole
tensors, blocks, a barrier after each step) on the rates that FlexGen fitted to its machine. Both
are set beside the published figure, which is itself a projection from a few layer steps of dummy
weights. Writes benchmarks/results/simulated-anchors.json and prints a table.
"""

import json
from dataclasses import dataclass
from typing import Any

import machine
from penstock import _core
from penstock.machine.shipped import shipped_machine
from penstock.planner import choose
from results import Results

_GIB, _TB = 1 << 30, 10**12
_DEVICE, _HOST, _DISK = 15 * _GIB, 200 * _GIB, 3 * _TB // 2
_OUR_ROWS = 1000


@dataclass(frozen=True)
class Anchor:
    """A published case. Shares are percent on (device, host); the rest is on disk."""

    model: str
    prompt: int
    new: int
    published: float
    batch: int  # sequences of a launch
    batches: int  # launches that share a load of the weights
    weights: tuple[int, int]
    kv: tuple[int, int]
    compressed: bool = False


# Tokens a second and policies of arXiv 2303.06865, appendix; "(c)" is 4-bit.
ANCHORS = (
    Anchor("opt-6.7b", 512, 32, 25.26, 2, 1, (100, 0), (100, 0)),
    Anchor("opt-30b", 512, 32, 7.32, 48, 3, (20, 80), (0, 100)),
    Anchor("opt-175b", 512, 32, 0.69, 32, 8, (0, 50), (0, 0)),
    Anchor("opt-6.7b", 512, 32, 29.12, 72, 1, (100, 0), (100, 0), True),
    Anchor("opt-30b", 512, 32, 8.70, 64, 8, (0, 100), (0, 100), True),
    Anchor("opt-175b", 512, 32, 1.12, 48, 3, (0, 100), (0, 100), True),
    Anchor("opt-30b", 1024, 32, 3.50, 20, 4, (4, 96), (0, 100)),
    Anchor("opt-175b", 1024, 32, 0.35, 12, 12, (0, 50), (0, 0)),
    Anchor("opt-30b", 1024, 32, 3.98, 20, 12, (0, 100), (0, 100), True),
    Anchor("opt-175b", 1024, 32, 0.42, 12, 4, (0, 100), (0, 100), True),
    Anchor("opt-6.7b", 128, 128, 106.4, 24, 1, (100, 0), (100, 0)),
    Anchor("opt-30b", 128, 128, 24.6, 96, 2, (20, 80), (0, 100)),
    Anchor("opt-175b", 128, 128, 2.41, 128, 8, (0, 50), (0, 0)),
)


def fitted() -> dict[str, Any]:
    """FlexGen's own constants for this machine (its cost_model.py), where it has them.

    Its disk figure (0.47 GiB/s) contradicts its own 175B result; the 2 and 1 GB/s that it names
    for the machine stand here. d2h is its rate of writing the KV cache back, twice: our rows of
    keys and values go down in fp32, its in fp16. Products run at its rate of prefill when a launch
    has many rows, at its rate of decoding at the 48 rows that it was fitted with, and a single row
    at what the T4's memory gives (320 GB/s).
    """
    rates = [
        {"rows": 1, "flops_per_second": 3.2e11},
        {"rows": 48, "flops_per_second": 4.3e12},
        {"rows": 2048, "flops_per_second": 21.24e12},
    ]
    return {
        "version": 1,
        "disk_read_bytes_per_second": 2e9,
        "disk_write_bytes_per_second": 1e9,
        "h2d_bytes_per_second": 12.89 * _GIB,
        "d2h_bytes_per_second": 2 * 0.97 * _GIB,
        "gemm_flops_per_second": 21.24e12,
        "attention_bytes_per_second": 79e9,
        "attention_flops_per_second": 9.97e12,
        "host_attention_bytes_per_second": 12.3e9,
        "gemm": [{"format": name, **rate} for name in ("fp16", "int4-g64") for rate in rates],
    }


def options(it: Anchor, rows: int, machine_text: str) -> Any:
    made = _core.EngineOptions()
    given = {
        "model": f"dummy:{it.model}",
        "device": "virtual",
        "device_memory": [_DEVICE],
        "host_memory": _HOST,
        "disk": "/tmp",
        "disk_memory": _DISK,
        "expected_rows": rows,
        "mean_prompt": it.prompt,
        "max_prompt": it.prompt,
        "mean_new": it.new,
        "max_new": it.new,
        "machine": machine_text,
        "weights": "int4-g64" if it.compressed and it.model != "opt-30b" else "auto",
        "kv": "int4" if it.compressed else "auto",
    }
    for name, value in given.items():
        setattr(made, name, value)
    return made


def shares(of: tuple[int, int]) -> dict[str, float]:
    device, host = of
    return {"device": device / 100, "host": host / 100, "disk": (100 - device - host) / 100}


def as_flexgen(it: Anchor) -> dict[str, Any]:
    """One block of rows, as FlexGen measured it."""
    rows = it.batch * it.batches
    policy = {
        "weight_share": shares(it.weights),
        "kv_share": shares(it.kv),
        "activation_share": {"device": 0, "host": 1} if it.kv[0] == 0 else {"device": 1},
        "micro_batch": it.batch,
        "micro_batches": it.batches,
        "micro_batch_tokens": it.batch * it.prompt,
        "prefill_chunk": it.batch * it.prompt,
        "max_sequences": rows,
        "admission": "block",
        "host_attention": it.kv[0] == 0 and not it.compressed,
        "step_barrier": True,
        "whole_tensors": True,
        "share_prefix": False,
    }
    native = _core.Planning(options(it, rows, json.dumps(fitted())))
    return predicted(native, json.dumps(policy), it, rows)


def ours(it: Anchor, rows: int) -> dict[str, Any]:
    native = _core.Planning(options(it, rows, shipped_machine("t4")))
    choice = choose(native)
    if choice is None:
        return {"tokens_per_second": 0.0}
    return {**predicted(native, choice.text, it, rows), "policy": choice.policy}


def predicted(native: Any, policy: str, it: Anchor, rows: int) -> dict[str, Any]:
    prediction = json.loads(
        native.predict(policy, [_core.RowTokens(it.prompt, it.new)] * rows, 0, False)
    )
    lanes = {name: lane["seconds"] for name, lane in prediction["lanes"].items()}
    return {
        "tokens_per_second": prediction["tokens_per_second"],
        "seconds": prediction["seconds"],
        "lanes": lanes,
        "bottleneck": prediction["bottleneck"],
    }


def main() -> None:
    print("| model | job | bits | published | as FlexGen | ours, its block | ours, 1000 rows |")
    print("|---|---|---|---:|---:|---:|---:|")
    cases = []
    for it in ANCHORS:
        block = it.batch * it.batches
        runs = {
            "as_flexgen": as_flexgen(it),
            "ours_block": ours(it, block),
            "ours": ours(it, max(_OUR_ROWS, 4 * block)),
        }
        rates = [runs[name]["tokens_per_second"] for name in ("as_flexgen", "ours_block", "ours")]
        shown = " | ".join(f"{rate:.3g} ({rate / it.published:.2f})" for rate in rates)
        bits = "4" if it.compressed else "16"
        job = f"{it.prompt}/{it.new}"
        print(f"| {it.model} | {job} | {bits} | {it.published} | {shown} |", flush=True)
        cases.append({"case": vars(it), **runs})
    result = {"machine": machine.facts(), "fitted": fitted(), "cases": cases}
    Results().write("simulated-anchors", result)


if __name__ == "__main__":
    main()
