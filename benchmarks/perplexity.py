"""Held-out perplexity of the two small models per weight, activation and KV format.

    python benchmarks/perplexity.py

Writes benchmarks/results/perplexity.json. Needs the installed package and nothing else.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import machine
from penstock import LLM
from penstock.cli.evaluate import Windows, perplexity
from results import RESULTS, Criterion, Results

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
                result = perplexity(llm, text, Windows(context))
        asked = {"weights": weights, "kv": kv, "compute": compute}
        result = {**result, "model": model.name, "asked": asked}
        base = measured[0]["perplexity"] if measured else result["perplexity"]
        measured.append({**result, "change": result["perplexity"] / base - 1})
    return measured


def criteria(measured: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What faster arithmetic costs, per model, beside its limit."""
    found = []
    for faster, slower, limit in LIMITS:
        for name, results in measured.items():
            fast, slow = (results[FORMATS.index(one)]["perplexity"] for one in (faster, slower))
            what = f"{name}: {faster[0]} {faster[2]} over {slower[0]} {slower[2]}"
            found.append(Criterion(what, fast / slow - 1, limit).to_json())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of both")
    parser.add_argument("--text", type=Path, default=ROOT / "tests" / "data" / "heldout.txt")
    parser.add_argument("--context", type=int, default=512, help="tokens a window")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    arguments = parser.parse_args()
    text = arguments.text
    measured = {name: measure(arguments.models / name, text, arguments.context) for name in MODELS}
    judged = criteria(measured)
    result = {"machine": machine.facts(), "text": text.name, "context": arguments.context}
    written = {**result, "models": measured, "criteria": judged}
    Results(arguments.results).write("perplexity", written)
    for one in judged:
        print(f"{one['what']}: {one['value']:+.3%} (at most {one['at_most']:.1%})")


if __name__ == "__main__":
    main()
