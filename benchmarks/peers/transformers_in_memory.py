"""transformers in RAM: seconds of a prefill and of decode steps at some batches, a JSON line each.

Runs in an environment with torch and transformers; knows nothing of Penstock. The prompt's cache is
computed once and repeated for every row of a batch, so that only decoding is timed.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def timed(model: Any, **inputs: Any) -> tuple[Any, float]:
    begin = time.monotonic()
    output = model(use_cache=True, logits_to_keep=1, **inputs)
    output.tokens = output.logits[:, -1:].argmax(-1)
    return output, time.monotonic() - begin


def decode_seconds(model: Any, prompt: Any, batch: int, steps: int) -> float:
    first, _ = timed(model, input_ids=prompt)
    cache = copy.deepcopy(first.past_key_values)
    cache.batch_repeat_interleave(batch)
    tokens = first.tokens.repeat(batch, 1)
    total = 0.0
    for _ in range(steps):
        output, seconds = timed(model, input_ids=tokens, past_key_values=cache)
        cache, tokens = output.past_key_values, output.tokens
        total += seconds
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=16)
    parser.add_argument("--prefill", type=int, nargs="*", default=[])
    parser.add_argument("--decode", type=int, nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
    with torch.inference_mode():
        for run in range(arguments.runs):
            torch.manual_seed(run)
            for batch in arguments.prefill:
                ids = torch.randint(4, model.config.vocab_size - 8, (batch, arguments.prompt))
                _, seconds = timed(model, input_ids=ids)
                told = {"what": "prefill", "batch": batch, "rate": ids.numel() / seconds}
                print(json.dumps(told), flush=True)
            for batch in arguments.decode:
                ids = torch.randint(4, model.config.vocab_size - 8, (1, arguments.prompt))
                seconds = decode_seconds(model, ids, batch, arguments.new)
                rate = batch * arguments.new / seconds
                print(json.dumps({"what": "decode", "batch": batch, "rate": rate}), flush=True)


if __name__ == "__main__":
    main()
