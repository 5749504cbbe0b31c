"""A few-shot job with its common header computed once, against the same job without sharing.

    python benchmarks/shared_prefix.py

Rows begin with the same 420 tokens and go on with 180 of their own, eight are generated; runs with
and without sharing alternate. Checks that results are equal, prints a table and writes
benchmarks/results/shared-prefix.json. OPT-125M's shape with random weights, in RAM.
"""

import argparse
import random
import statistics
from typing import Any

import machine
from penstock import LLM, SamplingParams
from results import Criterion, Results, limit_text

SHAPE = "dummy:opt-125m"
_VOCABULARY = 50000
_HOST_MEMORY = "2GiB"


def make_prompts(rows: int, header: int, own: int) -> list[list[int]]:
    chosen = random.Random(5)
    common = [chosen.randrange(4, _VOCABULARY) for _ in range(header)]
    return [common + [chosen.randrange(4, _VOCABULARY) for _ in range(own)] for _ in range(rows)]


def run(prompts: list[list[int]], new: int, share: bool) -> dict[str, Any]:
    """Seconds in the engine's sweeps, prompt tokens computed, and the tokens."""
    params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
    with LLM(SHAPE, host_memory=_HOST_MEMORY, policy={"share_prefix": share}) as llm:
        outputs = llm.generate(prompts, params)
        stats = llm.stats()
    return {
        "seconds": stats["seconds"],
        "prompt_tokens": stats["prompt_tokens"],
        "shared_tokens": stats["shared_tokens"],
        "tokens": [output.token_ids for output in outputs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--header", type=int, default=420)
    parser.add_argument("--own", type=int, default=180)
    parser.add_argument("--new", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    prompts = make_prompts(arguments.rows, arguments.header, arguments.own)
    runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for share in runs:
            runs[share].append(run(prompts, arguments.new, share))
    generated = [each.pop("tokens") for share in runs for each in runs[share]]
    apart, shared = (
        {name: statistics.median(each[name] for each in runs[share]) for name in runs[share][0]}
        for share in (False, True)
    )
    tokens = shared["prompt_tokens"] / apart["prompt_tokens"]
    seconds = shared["seconds"] / apart["seconds"]
    criteria = [
        Criterion("runs with other tokens", sum(each != generated[0] for each in generated), 0),
        Criterion("prompt tokens computed, of those without sharing", tokens, 0.35),
        Criterion("seconds, of those without sharing", seconds, 0.5),
    ]
    result = {
        "machine": machine.facts(),
        "job": vars(arguments),
        "without": runs[False],
        "with": runs[True],
        "criteria": [criterion.to_json() for criterion in criteria],
    }
    Results().write("shared-prefix", result)
    print("| | value | limit |\n|---|---:|---|")
    for one in result["criteria"]:
        print(f"| {one['what']} | {one['value']:.3g} | {limit_text(one)} |")


if __name__ == "__main__":
    main()
