"""OPT with random weights in RAM under a GPU's memory budget, layers brought up by Accelerate.

Seconds of a prompt's pass and of decode steps, as JSON. Runs in an environment with torch,
transformers and accelerate; knows nothing of Penstock.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers
from accelerate.utils import set_module_tensor_to_device

_ACTIVATION_BYTES = 3 << 30  # of prompts, the layer being brought up and the libraries


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=7168)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--heads", type=int, default=56)
    parser.add_argument("--device-bytes", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--steps", type=int, default=8, help="decode steps to measure")
    parser.add_argument("--device", default="cuda", help="cpu: without a GPU, to try the way")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def empty_model(arguments: argparse.Namespace) -> Any:
    hidden = arguments.hidden
    config = transformers.OPTConfig(
        hidden_size=hidden,
        word_embed_proj_dim=hidden,
        ffn_dim=4 * hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        vocab_size=50272,
        max_position_embeddings=2048,
    )
    with accelerate.init_empty_weights():
        model = transformers.OPTForCausalLM(config)
    return model.to(torch.float16).eval()


def weight_bytes_on_gpu(arguments: argparse.Namespace) -> int:
    """What the budget leaves beside keys, values and activations."""
    tokens = arguments.batch * (arguments.prompt + arguments.steps + 1)
    cache = 4 * arguments.layers * arguments.hidden * tokens
    return max(0, arguments.device_bytes - cache - _ACTIVATION_BYTES)


def place_of(name: str, places: dict[str, Any]) -> Any:
    """Of the longest module name that begins the parameter's."""
    found = [module for module in places if not module or (name + ".").startswith(module + ".")]
    return places[max(found, key=len)]


def fill(model: Any, places: dict[str, Any]) -> None:
    """Every parameter where it belongs, from one round of random values."""
    values = (torch.randn(1 << 22) * 0.02).to(torch.float16)
    done: dict[int, Any] = {}
    for name, parameter in list(model.named_parameters()):
        if id(parameter) in done:
            continue
        made = torch.empty(parameter.shape, dtype=torch.float16)
        flat = made.view(-1)
        for at in range(0, flat.numel(), values.numel()):
            some = flat[at : at + values.numel()]
            some.copy_(values[: some.numel()])
        place = place_of(name, places)
        where = "cpu" if place == "disk" else place
        set_module_tensor_to_device(model, name, where, value=made, dtype=torch.float16)
        done[id(parameter)] = made
    model.tie_weights()


def measure(model: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    ids = torch.randint(4, 50000, (arguments.batch, arguments.prompt), device=arguments.device)

    def timed(**inputs: Any) -> tuple[Any, float]:
        begin = time.monotonic()
        output = model(use_cache=True, logits_to_keep=1, **inputs)
        chosen = output.logits[:, -1:].argmax(-1)
        chosen.cpu()  # waits for the device
        output.tokens = chosen
        return output, time.monotonic() - begin

    steps: list[float] = []
    with torch.inference_mode():
        output, prefill = timed(input_ids=ids)
        print(f"prefill {prefill:.1f} s", flush=True)
        for _ in range(arguments.steps):
            cache = output.past_key_values
            output, seconds = timed(input_ids=output.tokens, past_key_values=cache)
            steps.append(seconds)
            print(f"step {seconds:.2f} s", flush=True)
    return {"prefill_seconds": prefill, "step_seconds": steps}


def main() -> None:
    arguments = parsed()
    torch.manual_seed(0)
    model = empty_model(arguments)
    places: dict[str, Any] = {"": "cpu"}
    if arguments.device != "cpu":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.device_bytes / total))
        places = accelerate.infer_auto_device_map(
            model,
            max_memory={0: weight_bytes_on_gpu(arguments), "cpu": 1 << 40},
            no_split_module_classes=["OPTDecoderLayer"],
            dtype=torch.float16,
        )
    begin = time.monotonic()
    fill(model, places)
    print(f"weights made in {time.monotonic() - begin:.1f} s", flush=True)
    if arguments.device != "cpu":
        model = accelerate.dispatch_model(model, device_map=places, main_device=0)
    else:
        model = model.to(torch.bfloat16)  # processors have no fp16 attention
    result = {
        "versions": {lib.__name__: lib.__version__ for lib in (torch, transformers, accelerate)},
        "batch": arguments.batch,
        "device_bytes": arguments.device_bytes,
        "modules": len(places),
        "modules_in_ram": sum(place == "cpu" for place in places.values()),
        **measure(model, arguments),
    }
    if arguments.device != "cpu":
        result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    arguments.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
