"""Tokens per second of our decoding alone, as one JSON line; for beside_llama_cpp.py.

All rows go on from one prompt, which is computed once. The rate is that of a job with --new tokens
after the first less a job of the first token, both in an engine that has its weights in place.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from penstock import LLM, SamplingParams


def warm(llm: LLM, model: Path, job: tuple[int, list[int], int]) -> None:
    """Makes an engine that is planned for the job, and ends after the first tokens."""
    rows, prompt, new = job
    size = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    params = SamplingParams(max_tokens=new, stop_token_ids=list(range(size)))
    llm.generate([prompt] * rows, params)


def run(llm: LLM, rows: int, prompt: list[int], new: int) -> tuple[float, dict[str, Any]]:
    params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
    before = llm.stats()
    begin = time.monotonic()
    outputs = llm.generate([prompt] * rows, params)
    seconds = time.monotonic() - begin
    if any(len(one.outputs[0].token_ids) != new for one in outputs):
        raise SystemExit("a row has fewer tokens than were asked for")
    after = llm.stats()
    lanes = {name: after[name] - before.get(name, 0.0) for name in ("seconds", "busiest_seconds")}
    return seconds, lanes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--kv", default="auto")
    parser.add_argument("--host-memory", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    chosen = random.Random(3)
    prompt = [chosen.randrange(4, 30000) for _ in range(arguments.prompt)]
    settings = {
        "weights": arguments.weights,
        "kv": arguments.kv,
        "host_memory": arguments.host_memory,
        "device": arguments.device,
        "threads": arguments.threads,
        "cache": arguments.cache,
    }
    with LLM(arguments.model, **settings) as llm:
        warm(llm, arguments.model, (arguments.batch, prompt, arguments.new + 1))
        whole, lanes = run(llm, arguments.batch, prompt, arguments.new + 1)
        first, first_lanes = run(llm, arguments.batch, prompt, 1)
        busiest = lanes["busiest_seconds"] - first_lanes["busiest_seconds"]
        result = {
            "rate": arguments.batch * arguments.new / (whole - first),
            "whole_seconds": whole,
            "first_seconds": first,
            "seconds_over_busiest": (lanes["seconds"] - first_lanes["seconds"]) / busiest,
            "peak_bytes": llm.stats()["peak_bytes"],
            "budget_bytes": llm.stats()["budget_bytes"],
        }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
