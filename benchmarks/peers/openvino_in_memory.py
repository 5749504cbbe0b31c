"""OpenVINO in RAM with compressed weights: rates of prefill and decode at some batches, JSON lines.

Runs in an environment with openvino, optimum-intel, nncf, torch and transformers; knows nothing of
Penstock. The checkpoint is exported into --data when it is not there yet, with every matrix in the
asked bits: 8 symmetric per row, or 4 asymmetric in groups of 64. The model keeps its own cache; a
batch decodes after a prefill of as many equal prompts, which is not timed.
"""

import time
from pathlib import Path
from typing import Any

import openvino
import rates
import torch
from openvino import opset13 as opset
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig


def exported(model: Path, data: Path, bits: int) -> Path:
    made = data / f"{model.name}-openvino-int{bits}"
    if not (made / "openvino_model.bin").exists():
        settings: dict[str, Any] = {"bits": 8, "sym": True}
        if bits == 4:
            settings = {"bits": 4, "sym": False, "group_size": 64, "ratio": 1.0, "all_layers": True}
        compression = OVWeightQuantizationConfig(**settings)
        exporter = OVModelForCausalLM.from_pretrained(
            model, export=True, quantization_config=compression, compile=False
        )
        exporter.save_pretrained(made)
    return made


def keep_last_logits(model: openvino.Model) -> None:
    """Logits of the last token alone, as OpenVINO GenAI computes them."""
    head = model.output("logits").get_node().input_value(0).get_node()
    while head.get_type_name() != "MatMul":
        head = head.input_value(0).get_node()
    last = opset.slice(head.input_value(0), [-1], [2**31 - 1], [1], [1])
    head.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()


def step(model: Any, ids: torch.Tensor, past: Any, length: int) -> tuple[Any, float]:
    """One forward of rows [batch, tokens] after `length` tokens in the cache."""
    mask = torch.ones(ids.shape[0], length + ids.shape[1], dtype=torch.int64)
    places = torch.arange(length, length + ids.shape[1]).repeat(ids.shape[0], 1)
    begin = time.monotonic()
    output = model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=past)
    output.tokens = output.logits[:, -1:].argmax(-1)
    return output, time.monotonic() - begin


def decode_rate(model: Any, prompt: torch.Tensor, batch: int, steps: int) -> float:
    output, _ = step(model, prompt.repeat(batch, 1), None, 0)
    length, total = prompt.shape[1], 0.0
    for _ in range(steps):
        output, seconds = step(model, output.tokens, output.past_key_values, length)
        length, total = length + 1, total + seconds
    return batch * steps / total


def main() -> None:
    parser = rates.options(__doc__)
    parser.add_argument("--bits", type=int, choices=(4, 8), required=True)
    arguments = parser.parse_args()
    folder = exported(arguments.model, arguments.data, arguments.bits)
    config = {"INFERENCE_NUM_THREADS": str(arguments.threads), "PERFORMANCE_HINT": "LATENCY"}
    model = OVModelForCausalLM.from_pretrained(
        folder, device="CPU", ov_config=config, compile=False
    )
    keep_last_logits(model.model)
    model.compile()
    for run in range(arguments.runs + 1):
        torch.manual_seed(run)
        tell = rates.tell if run > 0 else lambda *_: None  # the first calls prepare
        for batch in arguments.prefill:
            ids = torch.randint(4, 50000, (batch, arguments.prompt))
            _, seconds = step(model, ids, None, 0)
            tell("prefill", batch, ids.numel() / seconds)
        for batch in arguments.decode:
            prompt = torch.randint(4, 50000, (1, arguments.prompt))
            tell("decode", batch, decode_rate(model, prompt, batch, arguments.new))


if __name__ == "__main__":
    main()
