"""Accelerate's disk offload on one batch: seconds of load, prefill and a few decode steps, as JSON.

Runs in an environment with torch, transformers and accelerate; knows nothing of Penstock.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers
from transformers import AutoModelForCausalLM


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--offload", type=Path, required=True, help="folder for offloaded weights")
    parser.add_argument("--cpu-bytes", type=int, required=True, help="weights that stay in RAM")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="decode steps to measure")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def timed_step(model: Any, **inputs: Any) -> tuple[Any, float]:
    begin = time.monotonic()
    output = model(use_cache=True, logits_to_keep=1, **inputs)
    output.tokens = output.logits[:, -1:].argmax(-1)
    return output, time.monotonic() - begin


def measure(model: Any, batch: int, prompt: int, steps: int) -> dict[str, Any]:
    """The prefill of a batch and `steps` greedy decode steps after it."""
    ids = torch.randint(4, model.config.vocab_size - 8, (batch, prompt))
    with torch.inference_mode():
        output, prefill = timed_step(model, input_ids=ids)
        print(f"prefill {prefill:.1f} s", flush=True)
        decode = []
        for _ in range(steps):
            cache = output.past_key_values
            output, seconds = timed_step(model, input_ids=output.tokens, past_key_values=cache)
            decode.append(seconds)
            print(f"step {seconds:.1f} s", flush=True)
    return {"prefill_seconds": prefill, "step_seconds": decode}


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    begin = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(
        arguments.model,
        dtype=torch.bfloat16,
        device_map="auto",
        max_memory={"cpu": arguments.cpu_bytes},
        offload_folder=str(arguments.offload),
    ).eval()
    load = time.monotonic() - begin
    print(f"load {load:.1f} s", flush=True)
    places = list((getattr(model, "hf_device_map", None) or {"": "cpu"}).values())
    result = {
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "accelerate": accelerate.__version__,
        },
        "batch": arguments.batch,
        "cpu_bytes": arguments.cpu_bytes,
        "modules": len(places),
        "modules_on_disk": sum(place == "disk" for place in places),
        "load_seconds": load,
        **measure(model, arguments.batch, arguments.prompt, arguments.steps),
    }
    arguments.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
