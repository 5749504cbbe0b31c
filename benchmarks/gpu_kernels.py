"""Kernels of a GPU: products beside cuBLAS in fp16, attention of decoding rows, copies.

    python benchmarks/gpu_kernels.py

Low-bit products at 8192 and 16384 squares with weights that rotate past the caches, for 1 to 1024
rows, by 16-bit activations to 4096: there once with bits that do not follow from the number of rows
and once without, so that the table has the price of it. Shares are of the bandwidth of a copy
within the GPU, measured in the same run, reads and writes counted. Where torch with CUDA is there,
its fp16 products take turns with ours. Times are of kernels that follow each other on a stream;
through the device, as engines run them, lanes and events come on top. Needs nvcc and a GPU
(--device virtual tries the way without one); PENSTOCK_CUBLASLT names libcublasLt or "off". Prints
tables, writes benchmarks/results/gpu-kernels.json after each step.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu
import machine
import programs
from results import RESULTS, Results

Case = dict[str, Any]

_CUBLAS = Path(__file__).parent / "peers" / "cublas_fp16.py"
# Weight formats; with ":bf16" by 16-bit activations (compute="weight_only"), on no CPU, and with
# ":variant" behind it as they are when rows need not have bits of their own (invariant=False).
WEIGHT_ONLY, VARIANT = ":bf16", ":variant"
FORMATS = (
    *("int4-g64:bf16", "int4-g64:bf16:variant", "int4-g128:bf16", "int8:bf16"),
    *("int8:bf16:variant", "int4-g64", "int8", "bf16", "fp16"),
)
_STEP_SECONDS = 60  # that a step may take; later ones are not begun with less left


@dataclass(frozen=True)
class Sizes:
    """What is measured: sides of squares, numbers of rows, keys, bytes that rotate."""

    sides: tuple[int, ...] = (8192, 16384)
    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
    many_rows: tuple[int, ...] = (2048, 4096)  # also by 16-bit activations
    keys: tuple[int, ...] = (1024, 4096, 16384)
    rotated: int = 768 << 20
    copied: int = 1 << 30
    sampled: tuple[int, int] = (64, 128256)  # rows, vocabulary

    def row_list(self, name: str = "") -> str:
        """Of a format: variant products differ from the others in many rows alone."""
        if name.endswith(VARIANT):
            return ",".join(map(str, self.many_rows))
        return ",".join(map(str, self.rows + (self.many_rows if WEIGHT_ONLY in name else ())))


SMALL = Sizes((256,), (1, 16), (2048,), (300,), 1 << 20, 1 << 20, (3, 1000))


class Bench:
    """Calls of bench_gpu for one device."""

    def __init__(self, program: Path, device: str, sizes: Sizes, clock: gpu.Clock) -> None:
        self._program, self._device = program.resolve(), device
        self.sizes, self._clock = sizes, clock

    @property
    def formats(self) -> list[str]:
        cpu = self._device.startswith("virtual")
        return [name for name in FORMATS if not (cpu and WEIGHT_ONLY in name)]

    def run(self, what: str, **arguments: object) -> list[Case]:
        given = [f"{name}={value}" for name, value in arguments.items()]
        library = os.environ.get("PENSTOCK_CUBLASLT", "")
        if library:
            given.append(f"cublaslt={library}")
        command = [str(self._program), what, "1", f"device={self._device}", *given]
        return gpu.json_lines(command, self._clock.left)

    def cublas(self, side: int) -> list[Case]:
        """Of fp16 squares, by torch."""
        sizes = self.sizes
        shape = ["--n", side, "--k", side, "--rows", sizes.row_list(), "--rotated", sizes.rotated]
        command = [sys.executable, str(_CUBLAS), *map(str, shape)]
        return gpu.json_lines(command, self._clock.left)


def of_kernel(case: Case, name: str = "") -> float:
    """Seconds on the stream, or through a device that has none."""
    prefix = f"{name}_" if name else ""
    return case[f"{prefix}stream_seconds"] or case[f"{prefix}seconds"]


def products(bench: Bench, side: int, name: str) -> list[Case]:
    sizes = bench.sizes
    shape = {"n": side, "k": side, "rows": sizes.row_list(name), "rotated": sizes.rotated}
    asked = {
        "compute": "weight_only" if WEIGHT_ONLY in name else "fast",
        "invariant": int(not name.endswith(VARIANT)),
    }
    return bench.run("gemm", format=name.split(":")[0], **asked, **shape)


def attention(bench: Bench, heads: int, kv_heads: int) -> list[Case]:
    keys = ",".join(map(str, bench.sizes.keys))
    given = {"heads": heads, "kv_heads": kv_heads, "keys": keys, "rotated": bench.sizes.rotated}
    return bench.run("attention", formats="bf16,fp16,int8,int4", **given)


def sampling(bench: Bench) -> list[Case]:
    rows, columns = bench.sizes.sampled
    return bench.run("sample", rows=rows, columns=columns)


def steps(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Names and calls, in the order of what is wanted first; a copy is always the first."""
    yield "copies", lambda: bench.run("copy", bytes=bench.sizes.copied)
    for side in bench.sizes.sides:
        yield f"cublas {side}", lambda side=side: bench.cublas(side)
        for name in bench.formats:
            yield f"{name} {side}", lambda side=side, name=name: products(bench, side, name)
        if side == bench.sizes.sides[0]:
            yield "attention 64/8", lambda: attention(bench, 64, 8)
            yield "attention 32/32", lambda: attention(bench, 32, 32)
            yield "sampling", lambda: sampling(bench)


def figures(measured: dict[str, list[Case]]) -> dict[str, list[Case]]:
    """What is asked of the kernels, from what was measured so far."""
    copies = [case for case in measured.get("copies", []) if "failed" not in case]
    copy = copies[0]["copy_bytes_per_second"] if copies else 0.0
    good = {
        name: [case for case in lines if "failed" not in case] for name, lines in measured.items()
    }
    theirs = {
        (case["n"], case["m"]): case["seconds"]
        for name, lines in good.items()
        if name.startswith("cublas")
        for case in lines
    }
    return {
        "products": [
            product_figures(case, copy, theirs.get((case["n"], case["m"])))
            for name, lines in good.items()
            if name.split()[0] in FORMATS
            for case in lines
        ],
        "attention": [
            attention_figures(case, copy, lines)
            for name, lines in good.items()
            if name.startswith("attention")
            for case in lines
        ],
        "sampling": [
            {"way": case["way"], "rows": case["rows"], "columns": case["columns"]}
            | {"seconds": of_kernel(case), "through_device": case["seconds"]}
            for case in good.get("sampling", [])
        ],
    }


def product_figures(case: Case, copy: float, theirs: float | None) -> Case:
    """Of cuBLAS's speed: above 1 is faster. Inputs are rounded by an op of its own."""
    seconds, prepare = of_kernel(case), of_kernel(case, "prepare")
    found = {name: case[name] for name in ("format", "n", "m")}
    found |= {"seconds": seconds, "prepare_seconds": prepare, "through_device": case["seconds"]}
    found["operations_per_second"] = case["operations"] / seconds
    found["of_copy"] = case["weight_bytes"] / seconds / copy if copy else None
    found["of_cublas_fp16"] = theirs / seconds if theirs else None
    found["of_cublas_fp16_with_inputs"] = theirs / (seconds + prepare) if theirs else None
    return found


def attention_figures(case: Case, copy: float, lines: list[Case]) -> Case:
    def keys_per_second(line: Case) -> float:
        return float(line["sequences"] * line["keys"] / of_kernel(line))

    found = {name: case[name] for name in ("format", "keys", "sequences", "heads", "kv_heads")}
    seconds = of_kernel(case)
    found |= {"seconds": seconds, "through_device": case["seconds"]}
    found["of_copy"] = case["kv_bytes"] / seconds / copy if copy else None
    same = [one for one in lines if one["keys"] == case["keys"] and one["format"] == "bf16"]
    found["of_bf16"] = keys_per_second(case) / keys_per_second(same[0]) if same else None
    return found


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def table(found: dict[str, list[Case]]) -> str:
    lines = [
        "| product | rows | us | through device | TOPS | of copy | of cuBLAS fp16 | and inputs |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for one in found["products"]:
        cells = [f"{one['format']} {one['n']}", str(int(one["m"]))]
        cells += [f"{one['seconds'] * 1e6:.1f}", f"{one['through_device'] * 1e6:.1f}"]
        cells += [f"{one['operations_per_second'] / 1e12:.1f}", shown(one["of_copy"])]
        cells += [shown(one["of_cublas_fp16"]), shown(one["of_cublas_fp16_with_inputs"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| attention | keys | sequences | us | through device | of copy | of bf16 |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for one in found["attention"]:
        cells = [f"{one['format']} {int(one['heads'])}/{int(one['kv_heads'])}"]
        cells += [str(int(one["keys"])), str(int(one["sequences"]))]
        cells += [f"{one['seconds'] * 1e6:.1f}", f"{one['through_device'] * 1e6:.1f}"]
        cells += [shown(one["of_copy"]), shown(one["of_bf16"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| sampling | rows | vocabulary | us | through device |",
        "|---|---:|---:|---:|---:|",
    ]
    for one in found["sampling"]:
        cells = [one["way"], str(int(one["rows"])), str(int(one["columns"]))]
        cells += [f"{one['seconds'] * 1e6:.1f}", f"{one['through_device'] * 1e6:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--program", type=Path, help="bench_gpu, when it is built already")
    parser.add_argument("--seconds", type=float, default=3600, help="begin nothing later")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the way")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    arguments = parser.parse_args()
    clock = gpu.Clock(arguments.seconds)
    program = arguments.program or programs.gpu_kernels()
    bench = Bench(program, arguments.device, SMALL if arguments.small else Sizes(), clock)
    measured: dict[str, list[Case]] = {}
    skipped, results, about = [], Results(arguments.out), gpu.card()
    for name, step in steps(bench):
        if clock.left < _STEP_SECONDS:
            skipped.append(name)
            continue
        measured[name] = step()
        for case in measured[name]:
            if "failed" in case:
                print(f"{name} failed: {case['error'].strip()}", file=sys.stderr)
        result = {**about, "machine": machine.facts(), "device": arguments.device}
        result |= {"figures": figures(measured), "measured": measured}
        results.write("gpu-kernels", result)
        print(f"{name}: {len(measured[name])} figures, {clock.left:.0f} s left", flush=True)
    print("\n" + table(figures(measured)))
    failed = [name for name, lines in measured.items() if any("failed" in one for one in lines)]
    for what, names in (("failed", failed), ("no time left for", skipped)):
        if names:
            print(f"{what}: {', '.join(names)}")
    sys.exit(1 if failed or skipped else 0)


if __name__ == "__main__":
    main()
