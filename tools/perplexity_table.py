"""Held-out perplexity of the two small models per weight and KV format, as a Markdown table.

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
from penstock.evaluate import Windows, perplexity

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("penstock-opt-5m", "penstock-llama-5m")
# The published weights and cache first: the others are compared with them.
FORMATS = (
    ("auto", "auto"),
    ("int8", "auto"),
    ("int4-g64", "auto"),
    ("auto", "int8"),
    ("auto", "int4"),
)


def measure(model: Path, text: Path, context: int) -> list[dict[str, Any]]:
    """One result per format, each with its perplexity over that of the published weights."""
    measured = []
    for weights, kv in FORMATS:
        with tempfile.TemporaryDirectory() as cache:
            with LLM(model, weights=weights, kv=kv, cache=cache) as llm:
                told = perplexity(llm, text, Windows(context))
        told = {**told, "model": model.name, "asked": {"weights": weights, "kv": kv}}
        base = measured[0]["perplexity"] if measured else told["perplexity"]
        measured.append({**told, "change": told["perplexity"] / base - 1})
    return measured


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Formats down, models across."""
    lines = [f"| weights | KV | {' | '.join(measured)} |", "|---|---|" + "---:|" * len(measured)]
    for index, (weights, kv) in enumerate(FORMATS):
        shown = []
        for results in measured.values():
            told = results[index]
            change = f" ({told['change']:+.2%})" if index else ""
            shown.append(f"{told['perplexity']:.3f}{change}")
        names = [name.replace("auto", "bf16") for name in (weights, kv)]
        lines.append(f"| {' | '.join(names + shown)} |")
    return "\n".join(lines)


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
    write(arguments.output, {"text": text.name, "context": arguments.context, "models": measured})
    print(table(measured))


if __name__ == "__main__":
    main()
