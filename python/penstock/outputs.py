"""What generation and scoring give back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Logprob:
    """The natural logarithm of a token's probability; ``rank`` counts from 1, 0 when not among the
    most likely that were asked for."""

    logprob: float
    rank: int
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    """One continuation of a prompt.

    ``finish_reason`` is "length" (max_tokens reached) or "stop" (end of text, stop id or string;
    then ``stop_reason`` is the stop string or id, None at the end of text). ``logprobs`` holds for
    each token a map of token ids to Logprob, the chosen one first.
    """

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str
    stop_reason: str | int | None = None
    cumulative_logprob: float | None = None
    logprobs: list[dict[int, Logprob]] | None = None


@dataclass
class RequestOutput:
    """A prompt's continuations; ``text``, ``token_ids``, ... are those of the first.

    ``prompt_logprobs`` has one entry per prompt token, None for the first.
    """

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput] = field(default_factory=list)
    prompt_logprobs: list[float | None] | None = None

    @property
    def text(self) -> str:
        """Text of the first continuation, without the stop string."""
        return self.outputs[0].text

    @property
    def token_ids(self) -> list[int]:
        """Generated ids of the first continuation."""
        return self.outputs[0].token_ids

    @property
    def finish_reason(self) -> str:
        """Why the first continuation ended."""
        return self.outputs[0].finish_reason

    @property
    def logprobs(self) -> list[dict[int, Logprob]] | None:
        """Log-probabilities of the first continuation, when asked for."""
        return self.outputs[0].logprobs


@dataclass
class ScoreOutput:
    """Log-probability of each token of a text given those before it; None for the first."""

    prompt: str | None
    prompt_token_ids: list[int]
    logprobs: list[float | None]

    @property
    def total(self) -> float:
        """Log-probability of the whole text after its first token."""
        return sum(p for p in self.logprobs if p is not None)
