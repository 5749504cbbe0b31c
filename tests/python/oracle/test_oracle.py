"""Every family against transformers: logits of prompts, decoding, and 16-bit checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
from penstock import LLM, SamplingParams
from python.oracle.checkpoints import CASES, Case
from python.oracle.devices import devices_and, memory_on
from python.oracle.fake_quant import FORMATS
from python.oracle.reference import Greedy, Reference, distance, log_softmax

Folders = Callable[..., Path]

STEPS = 20
TOLERANCE = 1e-4  # largest difference over largest reference magnitude
TOP = 5

LOW_PRECISION = [
    pytest.param(case, dtype, id=f"{case.name}-{dtype}") for case in CASES for dtype in case.dtypes
]


# K of 48, 160, 200, 240, 320: the last group of a row is short in most.
SHORT_GROUPS = [
    case for case in CASES if case.name in ("opt-post-projection-80", "llama-80-tied", "qwen2-80")
]
QUANTISED = [
    pytest.param(case, name, id=f"{case.name}-{name}") for case in SHORT_GROUPS for name in FORMATS
]


on_every_device = pytest.mark.parametrize("device", devices_and("cpu"))


def _open(folder: Path, device: str = "cpu", **options: Any) -> LLM:
    return LLM(folder, **memory_on(device), **options)


def _assert_sound(expected: Greedy) -> None:
    """The reference is not so close to a tie that another order of summation may choose another."""
    best = numpy.sort(expected.logits, axis=1)[:, ::-1]
    assert (best[:, 0] - best[:, 1]).min() > 2 * TOLERANCE * numpy.abs(expected.logits).max()


def _assert_logprobs(found: list[dict], expected: Greedy) -> None:
    for row, (choices, logits) in enumerate(zip(found, expected.logits, strict=True)):
        slack = 2 * TOLERANCE * float(numpy.abs(logits).max())
        logprobs = log_softmax(logits)
        assert len(choices) == TOP, row
        worst_allowed = numpy.sort(logprobs)[-TOP] - slack
        for token, choice in choices.items():
            assert abs(choice.logprob - logprobs[token]) <= slack, (row, token)
            assert logprobs[token] >= worst_allowed, (row, token)


@on_every_device
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_in_fp32(case: Case, device: str, checkpoint: Folders) -> None:
    """Prompts of several lengths together; each answer is that of transformers for it alone."""
    folder = checkpoint(case)
    reference, prompts = Reference(folder), case.prompts()
    expected = [reference.greedy(prompt, STEPS) for prompt in prompts]
    for greedy in expected:
        _assert_sound(greedy)
    with _open(folder, device) as llm:
        params = SamplingParams(max_tokens=STEPS, temperature=0, ignore_eos=True, logprobs=TOP)
        for output, greedy in zip(llm.generate(prompts, params), expected, strict=True):
            assert output.token_ids == greedy.tokens
            _assert_logprobs(output.logprobs, greedy)
        for prompt, greedy in zip(prompts, expected, strict=True):
            tokens = prompt + greedy.tokens
            found = llm.logits(tokens)
            assert found.dtype == numpy.float32
            assert found.shape == (len(tokens), case.config["vocab_size"])
            assert distance(found, reference.logits(tokens)) <= TOLERANCE
            steps = found[len(prompt) - 1 : -1]
            assert distance(steps, greedy.logits) <= TOLERANCE


@on_every_device
@pytest.mark.parametrize(("case", "dtype"), LOW_PRECISION)
def test_16_bit_is_as_close_as_transformers(
    case: Case, dtype: str, device: str, checkpoint: Folders
) -> None:
    """Measured from the answer of the same rounded weights in fp32."""
    folder = checkpoint(case, dtype)
    tokens = case.prompts()[0]
    exact = Reference(folder).logits(tokens)
    theirs = distance(Reference(folder, dtype).logits(tokens), exact)
    with _open(folder, device) as llm:
        ours = distance(llm.logits(tokens), exact)
    assert 0 < ours <= 2 * theirs


@on_every_device
@pytest.mark.parametrize(("case", "weights"), QUANTISED)
def test_quantised_weights_mean_what_the_format_says(
    case: Case, weights: str, device: str, checkpoint: Folders, tmp_path: Path
) -> None:
    """Exact arithmetic on quantised weights is fp32 arithmetic on the rounded ones."""
    folder = checkpoint(case)
    tokens = case.prompts()[0]
    reference = Reference(folder)
    published = reference.logits(tokens)
    reference.requantise(FORMATS[weights])
    expected = reference.logits(tokens)
    with _open(folder, device, weights=weights, compute="exact", cache=str(tmp_path)) as llm:
        found = llm.logits(tokens)
    assert distance(found, expected) <= TOLERANCE
    assert distance(published, expected) > 10 * TOLERANCE


class QuantisedKv(NamedTuple):
    """Logits of one prompt: ours, the reference's over the cache's codes, over an exact cache."""

    found: Any
    expected: Any
    exact: Any


def _quantised_kv(folder: Path, tokens: list[int], bits: int, compute: str) -> QuantisedKv:
    reference = Reference(folder)
    with _open(folder, kv=f"int{bits}", compute=compute) as llm:
        found = llm.logits(tokens)
    return QuantisedKv(
        found, reference.logits_with_stored_kv(tokens, bits), reference.logits(tokens)
    )


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("case", SHORT_GROUPS, ids=lambda case: case.name)
def test_quantised_kv_means_what_the_format_says(
    case: Case, bits: int, checkpoint: Folders
) -> None:
    """Most rows agree exactly; in a few a value near the middle of two codes went the other way."""
    logits = _quantised_kv(checkpoint(case), case.prompts()[1], bits, "exact")
    each = [
        distance(row, wanted) for row, wanted in zip(logits.found, logits.expected, strict=True)
    ]
    assert numpy.median(each) <= TOLERANCE
    assert max(each) <= 100 * TOLERANCE
    assert distance(logits.expected, logits.exact) > 20 * TOLERANCE


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("case", SHORT_GROUPS, ids=lambda case: case.name)
def test_rounding_by_attention_is_less_than_that_by_the_cache(
    case: Case, bits: int, checkpoint: Folders
) -> None:
    """Queries and weights have codes too: values that go to other codes by it cost less."""
    logits = _quantised_kv(checkpoint(case), case.prompts()[1], bits, "fast")
    assert distance(logits.found, logits.expected) <= distance(logits.expected, logits.exact) / 3


def test_the_reference_hears_every_part(checkpoint: Folders) -> None:
    """The random weights are no degenerate model: far tokens matter, and logits differ."""
    for case in CASES:
        reference = Reference(checkpoint(case))
        prompt = case.prompts()[1]
        changed = [(prompt[0] + 1) % case.config["vocab_size"], *prompt[1:]]
        before, after = reference.logits(prompt), reference.logits(changed)
        reach = 10  # inside every window
        assert distance(after[reach], before[reach]) > 100 * TOLERANCE, case.name
        assert len(set(before.argmax(axis=1).tolist())) > 10, case.name
