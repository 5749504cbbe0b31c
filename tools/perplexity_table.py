"""Held-out perplexity of the two small models per weight, activation and KV format, as Markdown.

    python tools/perplexity_table.py

Writes benchmarks/results/perplexity.json too. Needs the installed package and nothing else.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from penstock import LLM
from penstock.cli.evaluate import Windows, perplexity

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("penstock-opt-5m", "penstock-llama-5m")
# Weights, KV, compute ("exact": activations stay fp32). The published weights and cache first: the
# others are compared with them.
FORMATS = (
    ("auto", "auto", "fast"),
    ("int8", "auto", "fast"),
    ("int8", "auto", "exact"),
    ("int4-g64", "auto", "fast"),
    ("int4-g64", "auto", "exact"),
    ("auto", "int8", "fast"),
    ("auto", "int4", "fast"),
)
# Faster arithmetic may cost this much perplexity.
LIMITS = (
    (("int8", "auto", "fast"), ("auto", "auto", "fast"), 0.003),
    (("int4-g64", "auto", "fast"), ("int4-g64", "auto", "exact"), 0.01),
)


def measure(model: Path, text: Path, context: int) -> list[dict[str, Any]]:
    """One result per format, each with its perplexity over that of the published weights."""
    measured = []
    for weights, kv, compute in FORMATS:
        with tempfile.TemporaryDirectory() as cache:
            with LLM(model, weights=weights, kv=kv, compute=compute, cache=cache) as llm:
                told = perplexity(llm, text, Windows(context))
        asked = {"weights": weights, "kv": kv, "compute": compute}
        told = {**told, "model": model.name, "asked": asked}
        base = measured[0]["perplexity"] if measured else told["perplexity"]
        measured.append({**told, "change": told["perplexity"] / base - 1})
    return measured


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Formats down, models across."""
    lines = [
        f"| weights | activations | KV | {' | '.join(measured)} |",
        "|---|---|---|" + "---:|" * len(measured),
    ]
    for index, (weights, kv, compute) in enumerate(FORMATS):
        shown = []
        for results in measured.values():
            told = results[index]
            change = f" ({told['change']:+.2%})" if index else ""
            shown.append(f"{told['perplexity']:.3f}{change}")
        activations = "fp32" if compute == "exact" else weights.replace("int4-g64", "int8")
        names = [name.replace("auto", "bf16") for name in (weights, activations, kv)]
        lines.append(f"| {' | '.join(names + shown)} |")
    return "\n".join(lines)


def criteria(measured: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What faster arithmetic costs, per model, beside its limit."""
    found = []
    for faster, slower, limit in LIMITS:
        for name, results in measured.items():
            told = [results[FORMATS.index(one)]["perplexity"] for one in (faster, slower)]
            what = f"{name}: {faster[0]} {faster[2]} over {slower[0]} {slower[2]}"
            change = told[0] / told[1] - 1
            found.append({"what": what, "value": change, "at_most": limit, "met": change <= limit})
    return found


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of both")
    parser.add_argument("--text", type=Path, default=ROOT / "tests" / "data" / "heldout.txt")
    parser.add_argument("--context", type=int, default=512, help="tokens a window")
    default = ROOT / "benchmarks" / "results" / "perplexity.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    text = arguments.text
    measured = {name: measure(arguments.models / name, text, arguments.context) for name in MODELS}
    judged = criteria(measured)
    told = {"text": text.name, "context": arguments.context, "models": measured}
    write(arguments.output, {**told, "criteria": judged})
    print(table(measured))
    for one in judged:
        print(f"{one['what']}: {one['value']:+.3%} (at most {one['at_most']:.1%})")


if __name__ == "__main__":
    main()
