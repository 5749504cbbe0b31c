"""Feeds an engine and gathers its answers: n > 1, stop strings, seeds, log-probabilities."""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from penstock.engine.native import Core, Engine
from penstock.engine.workload import EXPECTED_NEW
from penstock.errors import InvalidArgumentError, PenstockError, engine_errors
from penstock.outputs import CompletionOutput, Logprob
from penstock.sampling import SamplingParams
from penstock.text.stops import StopFinder
from penstock.text.tokenizer import Tokenizer

_COPIED = (
    *("min_tokens", "temperature", "top_k", "top_p", "min_p", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty", "ignore_eos"),
)
_CONTEXT_TOKENS = 8


@dataclass(frozen=True)
class Work:
    """One row: `key` is the caller's, `seeds` has one entry per completion."""

    key: Hashable
    tokens: list[int]
    params: SamplingParams
    seeds: list[int]
    score: bool = False


@dataclass
class Finished:
    """A row's answer."""

    key: Hashable
    prompt_tokens: int
    outputs: list[CompletionOutput]
    prompt_logprobs: list[float | None] | None


@dataclass
class _Sequence:
    """One engine request: completion `index` of `row`."""

    row: _Row
    index: int
    stops: StopFinder | None
    tokens: array[int] = field(default_factory=lambda: array("i"))
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)
    total: float = 0.0


@dataclass
class _Row:
    work_key: Hashable
    params: SamplingParams
    prompt_tokens: int
    context: list[int]
    score: bool
    outputs: dict[int, CompletionOutput] = field(default_factory=dict)
    prompt_logprobs: list[float | None] | None = None

    @property
    def is_complete(self) -> bool:
        return len(self.outputs) == (1 if self.score else self.params.n)

    def finished(self) -> Finished:
        outputs = [] if self.score else [self.outputs[j] for j in sorted(self.outputs)]
        return Finished(self.work_key, self.prompt_tokens, outputs, self.prompt_logprobs)


class RequestLoop:
    """Runs rows on one engine. ``submit`` rows, ``step`` until ``idle``; not thread safe."""

    def __init__(
        self,
        core: Core,
        engine: Engine,
        tokenizer: Tokenizer | None,
        eos_token_ids: list[int] | None = None,
    ) -> None:
        """`eos_token_ids` are further end-of-text ids, beside those of config.json."""
        self._core, self._engine, self._tokenizer = core, engine, tokenizer
        self._eos = eos_token_ids or []
        self._sequences: dict[int, _Sequence] = {}

    @property
    def idle(self) -> bool:
        """Whether no row is in flight."""
        return not self._sequences

    @property
    def in_flight(self) -> int:
        """Engine requests submitted and not finished."""
        return len(self._sequences)

    def submit(self, work: Work) -> None:
        """Takes a row; raises PenstockError, and has changed nothing then, when it is refused."""
        self._check(work)
        count = 1 if work.score else work.params.n
        row = _Row(
            work_key=work.key,
            params=work.params,
            prompt_tokens=len(work.tokens),
            context=work.tokens[-_CONTEXT_TOKENS:],
            score=work.score,
        )
        submitted: list[int] = []
        try:
            for index in range(count):
                submitted.append(self._submit_one(work, index))
        except PenstockError:
            for request in submitted:
                self._engine.cancel(request)
            raise
        for index, request in enumerate(submitted):
            self._sequences[request] = _Sequence(row, index, self._stop_finder(row))

    def step(self) -> list[Finished]:
        """One sweep; the rows it finished."""
        with engine_errors():
            events = self._engine.step()
        finished: list[Finished] = []
        for event in events:
            sequence = self._sequences.get(event.request)
            if sequence is not None and self._take(sequence, event):
                del self._sequences[event.request]
                if sequence.row.is_complete:
                    finished.append(sequence.row.finished())
        return finished

    def cancel_all(self) -> None:
        """Forgets everything in flight."""
        for request in self._sequences:
            self._engine.cancel(request)
        self._sequences.clear()

    def _check(self, work: Work) -> None:
        limit, prompt = self._engine.max_context(), len(work.tokens)
        asked = work.params.max_tokens
        new = 0 if work.score else asked or 1
        if prompt + new > limit:
            found = f"{prompt} prompt tokens"
            if not work.score:
                found += f" + max_tokens {asked}" if asked else " + 1 generated"
            message = f"too long: {found}, the context is {limit} tokens"
            raise InvalidArgumentError(
                message,
                field="max_tokens" if asked and prompt <= limit else "prompt",
                found=found,
                allowed=limit,
            )
        if work.params.stop and self._tokenizer is None:
            raise InvalidArgumentError("stop: stop strings need a tokenizer", field="stop")

    def _most_new(self, work: Work) -> int:
        """What max_tokens comes to: without it, a row may go on to the end of the context."""
        limit = work.params.max_tokens
        return self._engine.max_context() - len(work.tokens) if limit is None else limit

    def _submit_one(self, work: Work, index: int) -> int:
        params, request, sampling = work.params, self._core.Request(), self._core.Sampling()
        with engine_errors():
            for name in _COPIED:
                setattr(sampling, name, getattr(params, name))
            sampling.seed = work.seeds[index]
            sampling.max_tokens = self._most_new(work)
            eos = [] if params.ignore_eos else self._eos
            sampling.stop_token_ids = sorted({*params.stop_token_ids, *eos})
            sampling.logprobs = -1 if params.logprobs is None else params.logprobs
            sampling.logit_bias = sorted(params.logit_bias.items())
            sampling.allowed_token_ids = list(params.allowed_token_ids)
            request.tokens = work.tokens
            request.sampling = sampling
            request.score = work.score
            request.expected_new = EXPECTED_NEW if params.max_tokens is None else 0
            request.prompt_logprobs = bool(params.prompt_logprobs) and index == 0
            return self._engine.submit(request)

    def _stop_finder(self, row: _Row) -> StopFinder | None:
        if row.score or not row.params.stop or self._tokenizer is None:
            return None
        stops = tuple(row.params.stop)
        return StopFinder(self._tokenizer, row.context, stops, row.params.min_tokens)

    def _take(self, sequence: _Sequence, event: Any) -> bool:
        """Adds an event to its sequence; True when that ended it."""
        row = sequence.row
        if len(event.prompt_logprobs) > 0 and sequence.index == 0:
            row.prompt_logprobs = [None, *map(float, event.prompt_logprobs[1:])]
        for choice in event.tokens:
            self._add(sequence, choice)
            if sequence.stops is not None and sequence.stops.push(choice.token):
                self._engine.cancel(event.request)
                row.outputs[sequence.index] = self._output(sequence, "stop")
                return True
        if event.finished:
            row.outputs[sequence.index] = self._output(sequence, event.finish_reason)
        return bool(event.finished)

    def _add(self, sequence: _Sequence, choice: Any) -> None:
        sequence.tokens.append(choice.token)
        if sequence.row.params.logprobs is None:
            return
        sequence.total += choice.logprob
        ranks = {token: rank for rank, (token, _) in enumerate(choice.top, 1)}
        entries = {choice.token: self._logprob(choice.token, choice.logprob, ranks)}
        for token, logprob in choice.top:
            entries.setdefault(token, self._logprob(token, logprob, ranks))
        sequence.logprobs.append(entries)

    def _logprob(self, token: int, logprob: float, ranks: dict[int, int]) -> Logprob:
        text = self._tokenizer.token_text(token) if self._tokenizer else None
        return Logprob(float(logprob), ranks.get(token, 0), text)

    def _output(self, sequence: _Sequence, reason: str) -> CompletionOutput:
        params, tokens = sequence.row.params, list(sequence.tokens)
        has_logprobs = params.logprobs is not None
        output = CompletionOutput(
            index=sequence.index,
            text="",
            token_ids=tokens,
            finish_reason=reason,
            cumulative_logprob=sequence.total if has_logprobs else None,
            logprobs=sequence.logprobs if has_logprobs else None,
        )
        if sequence.row.score:
            return output
        stopped = sequence.stops.found if sequence.stops else None
        if reason == "stop" and stopped is None and tokens and tokens[-1] in params.stop_token_ids:
            output.stop_reason = tokens[-1]
        output.text = self._text(sequence, output)
        if stopped is not None:
            output.stop_reason = stopped
        return output

    def _text(self, sequence: _Sequence, output: CompletionOutput) -> str:
        if self._tokenizer is None:
            return ""
        if sequence.stops is not None and sequence.stops.found is not None:
            return sequence.stops.text
        shown = output.token_ids
        if shown and (output.stop_reason is not None or shown[-1] in self._eos):
            shown = shown[:-1]
        return self._tokenizer.continuation(sequence.row.context, shown)
