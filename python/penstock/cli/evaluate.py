"""``penstock eval``: perplexity of a text by scoring windows of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError, MalformedError
from penstock.llm import LLM
from penstock.util.strictjson import read_bytes

_MAX_TEXT_BYTES = 1 << 30
_SHOWN = ("weights", "kv", "compute", "invariant", "isa")  # of the plan


@dataclass(frozen=True)
class Windows:
    """Windows of `context` tokens, BOS included, that begin `stride` tokens apart (0: end to end).

    Each token is counted once, in the first window that has it.
    """

    context: int
    stride: int = 0

    def of(self, tokens: list[int], prefix: list[int]) -> Iterator[tuple[list[int], int]]:
        """Each window with the number of its last tokens that count."""
        room = self.context - len(prefix)
        step = self.stride or room
        if room < 1 or step > room:
            allowed = f"1 to {room} (the context less the beginning-of-text token)"
            raise InvalidArgumentError(f"stride: found {step}, allowed: {allowed}", field="stride")
        done = 0
        for begin in range(0, len(tokens), step):
            window = tokens[begin : begin + room]
            end = begin + len(window)
            yield prefix + window, end - done
            done = end
            if end == len(tokens):
                return


def perplexity(llm: LLM, text: Path, windows: Windows, use_tqdm: bool = False) -> dict[str, Any]:
    """exp of the mean negative log-probability of the text's tokens, with what it was measured on.

    The first token of a window is counted only where the tokenizer has a BOS to stand before it.
    """
    raw = read_bytes(text, _MAX_TEXT_BYTES)
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{text}: not UTF-8 (byte {error.start})", file=str(text)) from None
    prefix = list(llm.tokenizer.prefix)
    tokens = llm.tokenizer.encode(content, add_special_tokens=False)
    parts = list(windows.of(tokens, prefix))
    total, counted = 0.0, 0
    scores = llm.score([w for w, _ in parts], use_tqdm=use_tqdm)
    for (_, count), scored in zip(parts, scores, strict=True):
        known = [p for p in scored.logprobs[-count:] if p is not None]
        total, counted = total - sum(known), counted + len(known)
    if counted == 0:
        raise InvalidArgumentError(f"{text}: no tokens to score", file=str(text), field="text")
    mean = total / counted
    plan = llm.plan()
    return {
        "model": plan.get("model"),
        "perplexity": math.exp(mean) if mean < 700 else math.inf,
        "nats_per_token": mean,
        "bits_per_byte": total / math.log(2) / len(raw),
        "tokens": counted,
        "windows": len(parts),
        "context": windows.context,
        "stride": windows.stride or windows.context - len(prefix),
        **{name: plan[name] for name in _SHOWN if name in plan},
    }
