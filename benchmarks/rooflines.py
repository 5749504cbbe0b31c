"""Every CPU kernel beside the peaks of this machine, measured in the same run.

    python benchmarks/rooflines.py

Products, attention and the rest of the layer by instruction set, weight or KV format and rows;
weights and caches rotate through more memory than the processor's caches. Fractions are of chains
of the instruction that the kernel lives on, and of memory reads, both taken in turns with it.
Builds `bench_kernels` in release mode, prints tables, writes benchmarks/results/kernels.json (or
another, with `--name`). No root, no download, 2 GB of memory; `--only GROUP` measures a part and
keeps the others.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import machine
import programs
from results import Criterion, Results, limit_text

Measured = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A call of bench_kernels, and what is asked of a figure it prints."""

    what: str
    arguments: dict[str, str | int]
    figure: str = ""
    at_least: float = 0
    at_most: float = 0
    threads: int = 0  # 0: all

    @property
    def name(self) -> str:
        given = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.what} {given}" + (f" threads={self.threads}" if self.threads else "")


def _tested(isas: set[str]) -> list[str]:
    """AVX-512 at its best without tiles, with them, and AVX2."""
    dots = "avx512bf16" if "avx512bf16" in isas else "avx512"
    return [isa for isa in (dots, "avx512amx", "avx2") if isa in isas]


def products(isas: set[str]) -> list[Case]:
    """64 and more rows at 4096 x 4096; limits are those of a processor without tile registers."""
    cases = []
    for isa in _tested(isas):
        limits = {"int4-g64": 0.72, "int8": 0.72, "bf16": 0.82, "fp16": 0.80, "fp32": 0.80}
        if isa == "avx512":
            limits["bf16"] = 0.80  # no dot products of pairs: fp32 multiply-adds
        if isa == "avx2":
            limits = dict.fromkeys(limits, 0.60)
        if isa == "avx512amx":
            limits = dict.fromkeys(limits, 0.0)
        for name, limit in limits.items():
            for rows in (64, 256):
                given: dict[str, str | int] = {"isa": isa, "format": name, "m": rows}
                cases.append(Case("gemm", given, "of_peak", limit))
    return cases


def vectors(isas: set[str]) -> list[Case]:
    """One row: the weights come from memory."""
    best = _tested(isas)[0]
    formats = ("bf16", "int8", "int4-g64")
    wide = {"n": 8192, "k": 8192, "m": 1, "isa": best}
    return [Case("gemm", {"format": name, **wide}, "of_read", 0.85) for name in formats]


def attention(isas: set[str]) -> list[Case]:
    """Decoding at 4096 keys, and a prompt of 2048 tokens over itself."""
    plain = _tested(isas)[0]
    # Limits are those of what an engine takes by itself: tiles where there are any.
    best = "avx512amx" if "avx512amx" in isas else plain
    cases = []
    for isa in dict.fromkeys((plain, best)):
        for heads, kv_heads in ((32, 32), (32, 8)):
            for name, limit in (("bf16", 0.80), ("fp16", 0.0), ("int8", 0.80), ("int4", 0.0)):
                given: dict[str, str | int] = {"isa": isa, "format": name, "keys": 4096}
                given |= {"heads": heads, "kv_heads": kv_heads, "head_dim": 128}
                cases.append(Case("attention", given, "of_read", limit if isa == best else 0.0))
        for name in ("bf16", "int8", "int4"):
            given = {"isa": isa, "format": name, "keys": 2048, "rows": 2048}
            limit = 0.5 if name == "bf16" and isa == best else 0.0
            cases.append(Case("attention", given, "of_bf16_dot_peak", limit))
    return cases


def rest(isas: set[str]) -> list[Case]:
    """What is neither product nor attention, at 32 rows of a 1B shape."""
    best = _tested(isas)[0]
    given: dict[str, str | int] = {"isa": best, "format": "int4-g64", "m": 32}
    return [Case("layer", given, "rest_share", at_most=0.05)]


def scaling(isas: set[str]) -> list[Case]:
    """The same product on one thread and on two."""
    best = _tested(isas)[0]
    return [
        Case("gemm", {"isa": best, "format": name, "m": 256}, threads=threads)
        for name in ("int4-g64", "int8", "bf16", "fp32")
        for threads in (1, 2)
    ]


GROUPS: dict[str, Callable[[set[str]], list[Case]]] = {
    "products": products,
    "vectors": vectors,
    "attention": attention,
    "rest": rest,
    "scaling": scaling,
}


def measured(program: str, case: Case) -> Measured:
    threads = case.threads or len(os.sched_getaffinity(0))
    given = [f"{name}={value}" for name, value in case.arguments.items()]
    command = [program, case.what, str(threads), *given]
    result: Measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def judged(case: Case, result: Measured) -> list[Criterion]:
    if case.at_most:
        return [Criterion(f"{case.name}: {case.figure}", result[case.figure], case.at_most)]
    if case.at_least:
        return [Criterion(f"{case.name}: {case.figure}", result[case.figure], case.at_least, False)]
    return []


def compared(group: str, results: list[tuple[Case, Measured]]) -> list[Criterion]:
    """Criteria of two cases together."""
    found = []
    seconds = {case.name: result["seconds"] for case, result in results if "seconds" in result}
    for case, _ in results:
        if group == "scaling" and case.threads == 2:
            ratio = seconds[case.name.replace("threads=2", "threads=1")] / seconds[case.name]
            found.append(Criterion(f"{case.name}: of one thread's speed", ratio, 1.85, False))
        decodes = group == "attention" and "rows" not in case.arguments
        if decodes and case.arguments["format"] == "int4":
            bf16 = case.name.replace("int4", "bf16")
            result = {each.name: one["keys_per_second"] for each, one in results}
            ratio = result[case.name] / result[bf16]
            limit = 2.5 if case.arguments["heads"] == case.arguments["kv_heads"] else 1.8
            found.append(Criterion(f"{case.name}: of bf16's speed", ratio, limit, False))
    return found


def shown(case: Case, result: Measured) -> str:
    figures = {name: value for name, value in result.items() if name.startswith(("of_", "rest_"))}
    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    seconds = result.get("seconds", result.get("product_seconds", 0.0))
    return f"| {case.name} | {seconds * 1e3:.3f} | {text} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(GROUPS))
    parser.add_argument("--name", default="kernels", help="of the result; one for each machine")
    arguments = parser.parse_args()
    results, program = Results(), str(programs.kernels())
    asked = subprocess.run([program, "isas", "1"], check=True, capture_output=True, text=True)
    isas = set(asked.stdout.split())
    kept = results.read(arguments.name).get("groups", {}) if arguments.only else {}
    print("| case | ms | |\n|---|---:|---|")
    for group in arguments.only or GROUPS:
        results: list[tuple[Case, Measured]] = []
        for case in GROUPS[group](isas):
            result = measured(program, case)
            print(shown(case, result), flush=True)
            results.append((case, result))
        criteria = [one for case, result in results for one in judged(case, result)]
        criteria += compared(group, results)
        kept[group] = {
            "about": (GROUPS[group].__doc__ or "").splitlines()[0],
            "cases": [result for _, result in results],
            "criteria": [one.to_json() for one in criteria],
        }
    results.write(arguments.name, {"machine": machine.facts(), "groups": kept})
    print("\n| | value | limit | met |\n|---|---:|---|---|")
    for result in kept.values():
        for one in result["criteria"]:
            met = "yes" if one["met"] else "no"
            print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} | {met} |")


if __name__ == "__main__":
    main()
