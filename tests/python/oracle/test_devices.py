"""Trained models on accelerators: the tokens that the CPU device chooses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy
import pytest
from penstock import LLM, SamplingParams
from python.oracle.devices import devices_and, memory_on
from safetensors.torch import load_file, save_file

MODELS = Path(__file__).resolve().parents[3] / "models"
NAMES = ("penstock-llama-5m", "penstock-opt-5m")
DEVICES = devices_and("virtual")

PROMPTS = (
    "The ship left the harbour",
    "It was a",
    "Once upon a time, in a village by the river, there lived an old clockmaker who",
    "The president said that the law",
    "She opened the letter and read:",
    "In the second year of the war the",
    "Water is made of",
    "He had never before seen such a",
)
STEPS = 48
# What a 16-bit format rounds by, of the largest logit. Queries, weights of the softmax and inputs
# of products are rounded once each a layer; the roundings of a few layers come together.
ROUNDING = {"bfloat16": 4 / 256, "float16": 4 / 2048}


def as_dtype(model: Path, folder: Path, dtype: str) -> Path:
    """The model with its tensors stored in another type."""
    import torch

    shutil.copytree(model, folder)
    tensors = load_file(model / "model.safetensors")
    wanted = getattr(torch, dtype)
    stored = {name: tensor.to(wanted).contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    key = "dtype" if "dtype" in config else "torch_dtype"
    config[key] = dtype
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def answers(folder: Path, device: str) -> list[list[int]]:
    params = SamplingParams(max_tokens=STEPS, temperature=0, ignore_eos=True)
    with LLM(folder, **memory_on(device)) as llm:
        return [list(output.token_ids) for output in llm.generate(list(PROMPTS), params)]


def prompts(folder: Path) -> list[list[int]]:
    params = SamplingParams(max_tokens=1, temperature=0)
    with LLM(folder, **memory_on("cpu")) as llm:
        outputs = llm.generate(list(PROMPTS), params)
        return [list(output.prompt_token_ids) for output in outputs]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_in_fp32_tokens_are_those_of_the_cpu(name: str, device: str, tmp_path: Path) -> None:
    folder = as_dtype(MODELS / name, tmp_path / name, "float32")
    found, expected = answers(folder, device), answers(folder, "cpu")
    assert all(len(tokens) == STEPS for tokens in expected)
    assert found == expected


def rounding_gaps(folder: Path, device: str, dtype: str) -> tuple[int, int]:
    """Steps of the CPU up to the first other token of each row, and of them those by a near tie."""
    expected, found = answers(folder, "cpu"), answers(folder, device)
    clear, other = 0, 0
    with LLM(folder, **memory_on("cpu")) as llm:
        for given, ours, theirs in zip(prompts(folder), found, expected, strict=True):
            logits = llm.logits(given + theirs)[len(given) - 1 : -1]
            best = numpy.sort(logits, axis=1)[:, ::-1]
            gaps = best[:, 0] - best[:, 1]
            allowed = ROUNDING[dtype] * numpy.abs(logits).max(axis=1)
            for step in range(STEPS):
                if ours[step] != theirs[step]:
                    assert gaps[step] <= allowed[step], (given, step)
                    other += 1
                    break
                clear += int(gaps[step] > allowed[step])
    return clear, other


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_in_16_bit_tokens_differ_at_near_ties_alone(
    name: str, dtype: str, device: str, tmp_path: Path
) -> None:
    folder = as_dtype(MODELS / name, tmp_path / name, dtype)
    clear, other = rounding_gaps(folder, device, dtype)
    assert clear >= len(PROMPTS) * STEPS // 4, "most steps must be no near ties"
    assert other <= len(PROMPTS) // 2
