"""Every family against transformers: logits of prompts, decoding, and 16-bit checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from penstock import LLM, SamplingParams
from python.oracle.checkpoints import CASES, Case
from python.oracle.reference import Greedy, Reference, distance, log_softmax

Folders = Callable[..., Path]

STEPS = 20
TOLERANCE = 1e-4  # largest difference over largest reference magnitude
TOP = 5

LOW_PRECISION = [
    pytest.param(case, dtype, id=f"{case.name}-{dtype}") for case in CASES for dtype in case.dtypes
]


def _open(folder: Path) -> LLM:
    return LLM(folder, device="cpu", host_memory="1GiB")


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_in_fp32(case: Case, checkpoint: Folders) -> None:
    """Prompts of several lengths together; each answer is that of transformers for it alone."""
    folder = checkpoint(case)
    reference, prompts = Reference(folder), case.prompts()
    expected = [reference.greedy(prompt, STEPS) for prompt in prompts]
    for greedy in expected:
        _assert_sound(greedy)
    with _open(folder) as llm:
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


@pytest.mark.parametrize(("case", "dtype"), LOW_PRECISION)
def test_16_bit_is_as_close_as_transformers(case: Case, dtype: str, checkpoint: Folders) -> None:
    """Measured from the answer of the same rounded weights in fp32."""
    folder = checkpoint(case, dtype)
    tokens = case.prompts()[0]
    exact = Reference(folder).logits(tokens)
    theirs = distance(Reference(folder, dtype).logits(tokens), exact)
    with _open(folder) as llm:
        ours = distance(llm.logits(tokens), exact)
    assert 0 < ours <= 2 * theirs


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
