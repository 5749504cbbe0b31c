"""Write the machine files that come with the package from a few figures each (docs/machines.md).

Products follow a roofline: a launch of few rows waits for its weights to come from memory, one of
many rows for the arithmetic. No launch is faster than one of fewer rows.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "python" / "penstock" / "machine" / "data"
ROWS = (1, 16, 64, 256, 1024, 4096)
# Bytes a weight takes, scales and offsets included.
WEIGHT_BYTES = {
    **{"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0},
    **{f"int8-g{group}": 1 + 2 / group for group in (32, 64, 128)},
    **{f"int4-g{group}": 0.5 + 3 / group for group in (32, 64, 128)},
}
KV_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "kv-int8": 1.0, "kv-int4": 0.5}


@dataclass(frozen=True)
class Figures:
    """What one machine is described by; rates are per second, memory that of what computes."""

    about: str
    plain: dict[str, float]
    memory: float
    flops: float  # products of many rows
    slow_flops: float  # the same for `slow_formats`
    slow_formats: tuple[str, ...]
    attention: dict[str, float]
    host_attention: dict[str, float] = field(default_factory=dict)
    most_flops: dict[int, float] = field(default_factory=dict)  # of launches up to that many rows


def evenly(rate: float) -> dict[str, float]:
    """Attention that is bound by memory: the same bytes in every format."""
    return dict.fromkeys(KV_BYTES, rate)


def by_element(fp16: float) -> dict[str, float]:
    """Attention that is bound by instructions: the same elements in every format."""
    return {kv: fp16 * size / KV_BYTES["fp16"] for kv, size in KV_BYTES.items()}


MACHINES = {
    "t4": Figures(
        about="NVIDIA T4 16 GB in a cloud machine with 208 GB of memory and local SSD: fitted "
        "rates that FlexGen reached there, data sheet for the rest; sources in docs/machines.md",
        plain={
            "disk_read_bytes_per_second": 2e9,
            "disk_write_bytes_per_second": 1e9,
            "h2d_bytes_per_second": 13.84e9,
            "d2h_bytes_per_second": 13.84e9,
            "attention_flops_per_second": 9.97e12,
        },
        memory=0.8 * 320e9,
        flops=21.24e12,
        slow_flops=4.05e12,
        slow_formats=("fp32", "bf16"),
        attention=by_element(79e9),
        host_attention=by_element(12.3e9),
        most_flops={64: 4.3e12, 256: 17.2e12},
    ),
    "rtx4090": Figures(
        about="NVIDIA RTX 4090 24 GB in a desktop with two channels of DDR5-5600 and a PCIe 4 "
        "NVMe drive: data sheets, achievable rates for links and memory; sources in "
        "docs/machines.md",
        plain={
            "disk_read_bytes_per_second": 6.5e9,
            "disk_write_bytes_per_second": 1.5e9,
            "host_copy_bytes_per_second": 15e9,
            "h2d_bytes_per_second": 25e9,
            "d2h_bytes_per_second": 25e9,
            "attention_flops_per_second": 100e12,
        },
        memory=0.8 * 1008e9,
        flops=165e12,
        slow_flops=66e12,
        slow_formats=("fp32",),
        attention=evenly(0.8 * 1008e9),
        host_attention=evenly(50e9),
    ),
    "h200": Figures(
        about="NVIDIA H200 141 GB behind PCIe 5 in a server with eight channels of DDR5-4800 a "
        "socket and four PCIe 5 NVMe drives: measured rates where there are any, below the data "
        "sheet's; sources in docs/machines.md",
        plain={
            "disk_read_bytes_per_second": 27e9,
            "disk_write_bytes_per_second": 11e9,
            "host_copy_bytes_per_second": 15e9,
            "h2d_bytes_per_second": 55e9,
            "d2h_bytes_per_second": 55e9,
            "attention_flops_per_second": 550e12,
        },
        memory=4.3e12,
        flops=780e12,
        slow_flops=53e12,
        slow_formats=("fp32",),
        attention=evenly(4.3e12),
        host_attention=evenly(170e9),
    ),
    "laptop": Figures(
        about="A laptop of eight cores with AVX2, no GPU, two channels of DDR5-4800 and a PCIe 3 "
        "NVMe drive: arithmetic from clock and width, shares assumed; sources in docs/machines.md",
        plain={
            "disk_read_bytes_per_second": 3e9,
            "disk_write_bytes_per_second": 1.5e9,
            "host_copy_bytes_per_second": 12e9,
            "attention_flops_per_second": 250e9,
        },
        memory=0.7 * 76.8e9,
        flops=500e9,
        slow_flops=500e9,
        slow_formats=(),
        attention=evenly(0.5 * 76.8e9),
    ),
}


def rounded(rate: float) -> int | float:
    """Four digits, more would pretend."""
    return int(float(f"{rate:.4g}"))


def products(figures: Figures, name: str) -> list[dict[str, Any]]:
    """Rates of one weight format, row count by row count."""
    is_slow = name in figures.slow_formats
    found, seconds = [], 0.0
    for rows in ROWS:
        flops = figures.slow_flops if is_slow else figures.flops
        flops = min(flops, rows * 2 * figures.memory / WEIGHT_BYTES[name])
        flops = min([flops, *(most for up_to, most in figures.most_flops.items() if rows <= up_to)])
        seconds = max(seconds, rows / flops)
        rate = rounded(rows / seconds)
        found.append({"format": name, "rows": rows, "flops_per_second": rate})
    return found


def machine(figures: Figures) -> dict[str, Any]:
    """The JSON form of docs/policy.md."""
    made: dict[str, Any] = {"version": 1, "about": figures.about}
    made.update({name: rounded(rate) for name, rate in figures.plain.items()})
    made["gemm_flops_per_second"] = rounded(figures.slow_flops)
    made["attention_bytes_per_second"] = rounded(min(figures.attention.values()))
    if figures.host_attention:
        made["host_attention_bytes_per_second"] = rounded(min(figures.host_attention.values()))
    made["gemm"] = [rate for name in WEIGHT_BYTES for rate in products(figures, name)]
    for name in ("attention", "host_attention"):
        rates = getattr(figures, name)
        if rates:
            made[name] = [{"kv": k, "bytes_per_second": rounded(v)} for k, v in rates.items()]
    return made


def text(made: dict[str, Any]) -> str:
    """JSON with one rate a line."""
    lines = []
    for name, value in made.items():
        shown = json.dumps(value)
        if isinstance(value, list):
            shown = "[\n" + ",\n".join(f"    {json.dumps(rate)}" for rate in value) + "\n  ]"
        lines.append(f"  {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    for name, figures in MACHINES.items():
        (folder / f"{name}.json").write_text(text(machine(figures)), encoding="utf-8")


if __name__ == "__main__":
    main()
