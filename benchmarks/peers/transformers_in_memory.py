"""transformers in RAM: seconds of a prefill and of decode steps at some batches, a JSON line each.

Runs in an environment with torch and transformers; knows nothing of Penstock. The prompt's cache is
computed once and repeated for every row of a batch, so that only decoding is timed.
"""

import copy
import time
from typing import Any

import rates
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
    arguments = rates.options(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
    with torch.inference_mode():
        for run in range(arguments.runs):
            torch.manual_seed(run)
            for batch in arguments.prefill:
                ids = torch.randint(4, model.config.vocab_size - 8, (batch, arguments.prompt))
                _, seconds = timed(model, input_ids=ids)
                rates.tell("prefill", batch, ids.numel() / seconds)
            for batch in arguments.decode:
                ids = torch.randint(4, model.config.vocab_size - 8, (1, arguments.prompt))
                seconds = decode_seconds(model, ids, batch, arguments.new)
                rates.tell("decode", batch, batch * arguments.new / seconds)


if __name__ == "__main__":
    main()
