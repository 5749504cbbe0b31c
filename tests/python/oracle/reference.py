"""What transformers answers, on the processor, one sequence at a time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy
import torch
import transformers
from python.oracle.fake_quant import Format, requantised, stored_kv


@dataclass(frozen=True)
class Greedy:
    """Greedy continuation: the tokens and the logits each was chosen from."""

    tokens: list[int]
    logits: numpy.ndarray  # (steps, vocabulary)


class Reference:
    """A checkpoint run by transformers in `dtype`, whatever type its tensors are stored in."""

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="eager"
        ).eval()

    def requantise(self, form: Format) -> None:
        """Rounds every matrix to the format; also a tied head, but not the embedding."""
        for module in self._model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight = torch.nn.Parameter(requantised(module.weight.data, form))

    @torch.inference_mode()
    def logits(self, tokens: list[int]) -> numpy.ndarray:
        """Logits after each token: float32 (tokens, vocabulary)."""
        return self._model(torch.tensor([tokens])).logits[0].float().numpy()

    def logits_with_stored_kv(self, tokens: list[int], bits: int) -> numpy.ndarray:
        """The same when attention sees keys and values only as the cache keeps them."""
        code = sys.modules[type(self._model).__module__]
        attend = code.eager_attention_forward

        def attend_stored(*inputs: Any, **more: Any) -> Any:
            layer, query, key, value, *rest = inputs
            kept = stored_kv(key, bits), stored_kv(value, bits)
            return attend(layer, query, *kept, *rest, **more)

        with mock.patch.object(code, "eager_attention_forward", attend_stored):
            return self.logits(tokens)

    @torch.inference_mode()
    def greedy(self, tokens: list[int], steps: int) -> Greedy:
        """Token by token, over the cache."""
        cache, given, chosen, rows = None, tokens, [], []
        for _ in range(steps):
            out = self._model(torch.tensor([given]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            row = out.logits[0, -1].float()
            given = [int(row.argmax())]
            chosen += given
            rows.append(row.numpy())
        return Greedy(chosen, numpy.stack(rows))


def distance(found: numpy.ndarray, expected: numpy.ndarray) -> float:
    """Largest difference over largest expected magnitude."""
    return float(numpy.abs(found - expected).max() / numpy.abs(expected).max())


def log_softmax(row: numpy.ndarray) -> numpy.ndarray:
    """Natural logarithms of the probabilities of one row of logits."""
    wide = row.astype(numpy.float64)
    shifted = wide - wide.max()
    return shifted - numpy.log(numpy.exp(shifted).sum())
