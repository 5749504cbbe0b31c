"""How tokens are chosen: :class:`SamplingParams`, with the names users of offline engines know."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from penstock.errors import InvalidArgumentError, UnsupportedError

_Params = TypeVar("_Params")

MAX_N = 1024
MAX_TOKENS = 1 << 24
MAX_STOPS, MAX_STOP_CHARS = 64, 1024
MAX_LIST = 65536
MAX_LOGPROBS = 64

# Names that other engines and the OpenAI interface know and Penstock does not do, each with what to
# use instead, where there is something.
UNSUPPORTED = {
    **dict.fromkeys(
        "use_beam_search length_penalty early_stopping beam_width structured_outputs guided_json "
        "guided_regex guided_grammar guided_decoding response_format logits_processors "
        "repetition_detection thinking_token_budget extra_args extra_body typical_p "
        "epsilon_cutoff mirostat tool_choice parallel_tool_calls functions function_call suffix "
        "stream_options audio modalities prediction web_search_options output_kind".split(),
        "",
    ),
    "best_of": "n gives that many completions, with log-probabilities to choose by",
    "bad_words": "logit_bias of -100 keeps single tokens from being chosen",
    "guided_choice": "allowed_token_ids keeps to some tokens",
    "logprob_token_ids": "logprobs=K gives the K most likely tokens",
    "truncate_prompt_tokens": "cut the prompt's token ids before",
    "include_stop_str_in_output": "stop_reason holds the stop string",
    "skip_special_tokens": "token_ids hold the special tokens",
    "spaces_between_special_tokens": "token_ids hold the special tokens",
    "detokenize": "the text need not be read",
    "echo": "prompt_logprobs, or a row with score, tells of the prompt",
    "tools": 'chat_template_kwargs={"tools": [...]} hands them to the chat template',
    "reasoning_effort": 'chat_template_kwargs={"reasoning_effort": ...} hands it to the template',
}
# The values of such names that ask for nothing but what happens anyway.
_NO_OPS: dict[str, tuple[object, ...]] = {
    "best_of": (None, 1),
    "use_beam_search": (None, False),
    "length_penalty": (None, 1.0),
    "early_stopping": (None, False),
    "bad_words": (None, [], ()),
    "structured_outputs": (None,),
    "guided_decoding": (None,),
    "response_format": (None, {"type": "text"}),
    "logits_processors": (None, [], ()),
    "truncate_prompt_tokens": (None,),
    "include_stop_str_in_output": (None, False),
    "skip_special_tokens": (None, True),
    "spaces_between_special_tokens": (None, True),
    "detokenize": (None, True),
    "echo": (None, False),
    "suffix": (None, ""),
    "tools": (None, [], ()),
    "tool_choice": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "stream_options": (None,),
    "modalities": (None, ["text"]),
    "extra_args": (None, {}),
}


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    open_low: bool = False

    def has(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.open_low and value == self.low)

    def __str__(self) -> str:
        return f"{'over ' if self.open_low else ''}{self.low} to {self.high}"


_INTEGERS = {
    "n": _Range(1, MAX_N),
    "max_tokens": _Range(1, MAX_TOKENS),
    "min_tokens": _Range(0, MAX_TOKENS),
    "top_k": _Range(-1, (1 << 31) - 1),
    "seed": _Range(0, (1 << 64) - 1),
    "logprobs": _Range(0, MAX_LOGPROBS),
}
_OPTIONAL = ("seed", "logprobs", "max_tokens")
_NUMBERS = {
    "temperature": _Range(0, 100),
    "top_p": _Range(0, 1, open_low=True),
    "min_p": _Range(0, 1),
    "presence_penalty": _Range(-2, 2),
    "frequency_penalty": _Range(-2, 2),
    "repetition_penalty": _Range(0, 100, open_low=True),
}


def _refuse(name: str, found: object, allowed: object) -> InvalidArgumentError:
    shown = repr(found)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    message = f"{name}: found {shown}, allowed: {allowed}"
    return InvalidArgumentError(message, field=name, found=shown, allowed=str(allowed))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _token_ids(name: str, value: object) -> tuple[int, ...]:
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else None
    if items is None or not all(_is_integer(i) and 0 <= i < 1 << 31 for i in items):
        raise _refuse(name, value, "a list of token ids")
    if len(items) > MAX_LIST:
        raise _refuse(name, f"{len(items)} ids", f"at most {MAX_LIST}")
    return tuple(items)


def _named_refusals(cls: type[_Params]) -> type[_Params]:
    """The constructor refuses unknown names as a row does, and takes those that ask for nothing."""
    plain = cls.__init__

    @functools.wraps(plain)
    def init(self: Any, *values: Any, **named: Any) -> None:
        plain(self, *values, **supported(named))

    cls.__init__ = init  # type: ignore[method-assign]
    return cls


@_named_refusals
@dataclass(frozen=True)
class SamplingParams:
    """How a prompt is continued. Immutable; every value is checked when it is made.

    n                    completions per prompt, each with a seed of its own
    max_tokens           generated tokens at most (default 16); None: to the end of the context
    min_tokens           no end of text, stop id or stop string before that many tokens
    temperature          0 is greedy: the most likely token, always
    top_k, top_p, min_p  0 (or -1), 1 and 0 turn them off
    seed                 fixes this prompt's random numbers whatever the job's seed is
    stop                 a string or strings; the text ends before the first of them
    stop_token_ids       token ids that end the text
    ignore_eos           go on after the model's end-of-text token
    logprobs             k: log-probability of each token and of the k most likely ones
    prompt_logprobs      True (or 0): log-probability of each prompt token
    logit_bias           {token id: added to its logit}, -100 to 100
    allowed_token_ids    only these may be chosen
    presence_penalty, frequency_penalty, repetition_penalty   0, 0 and 1 turn them off

    Defaults are those of vLLM. The model's generation_config.json changes none of them; only its
    end-of-text ids are used. Raises InvalidArgumentError naming the parameter, what was found and
    what is allowed; UnsupportedError for a name that other engines know and this one does not, with
    what to use instead.
    """

    n: int = 1
    max_tokens: int | None = 16
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] | str | list[str] = ()
    stop_token_ids: tuple[int, ...] | list[int] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: bool | int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    allowed_token_ids: tuple[int, ...] | list[int] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in _INTEGERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not _is_integer(value) or not allowed.has(value):
                raise _refuse(name, value, f"an integer, {allowed}")
        for name, allowed in _NUMBERS.items():
            value = getattr(self, name)
            if not _is_number(value) or not allowed.has(value):
                raise _refuse(name, value, f"a number, {allowed}")
            self._set(name, float(value))
        if not isinstance(self.ignore_eos, bool):
            raise _refuse("ignore_eos", self.ignore_eos, "true or false")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise _refuse("min_tokens", self.min_tokens, f"at most max_tokens ({self.max_tokens})")
        self._set("top_k", max(self.top_k, 0))
        self._normalise_lists()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _normalise_lists(self) -> None:
        self._set("stop", _stops(self.stop))
        self._set("stop_token_ids", _token_ids("stop_token_ids", self.stop_token_ids or ()))
        allowed = _token_ids("allowed_token_ids", self.allowed_token_ids or ())
        self._set("allowed_token_ids", allowed)
        self._set("logit_bias", _biases(self.logit_bias or {}))
        prompt = self.prompt_logprobs
        if not (
            prompt is None or isinstance(prompt, bool) or (_is_integer(prompt) and prompt == 0)
        ):
            allowed_values = "true, false or 0 (only the prompt's own tokens)"
            raise _refuse("prompt_logprobs", prompt, allowed_values)
        self._set("prompt_logprobs", prompt is not None and prompt is not False)

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all parameters."""
        return frozenset(f.name for f in dataclasses.fields(cls))

    def merged(self, overrides: Mapping[str, Any]) -> SamplingParams:
        """These parameters with some replaced; unknown and unsupported names are refused.

        A value of None keeps the default.
        """
        named = supported(overrides)
        given = {name: value for name, value in named.items() if value is not None}
        if not given:
            return self
        if "max_tokens" in given and "min_tokens" not in given and _is_integer(given["max_tokens"]):
            given["min_tokens"] = min(self.min_tokens, max(given["max_tokens"], 0))
        return dataclasses.replace(self, **given)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SamplingParams:
        """What ``to_json`` made."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The parameters that differ from the defaults, as JSON values."""
        plain = SamplingParams()
        values: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value != getattr(plain, item.name):
                values[item.name] = list(value) if isinstance(value, tuple) else value
        if "logit_bias" in values:
            values["logit_bias"] = {str(k): v for k, v in sorted(self.logit_bias.items())}
        return values


def supported(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters among `given`, without what asks for nothing but what happens anyway.

    Raises for other names, telling the unsupported from the unknown.
    """
    known = SamplingParams.names()
    found = {}
    for name, value in given.items():
        if name in known:
            found[name] = value
        elif name not in UNSUPPORTED:
            raise InvalidArgumentError(f"unknown field {name!r:.80}", field=str(name)[:80])
        elif not any(value == no_op for no_op in _NO_OPS.get(name, ())):
            instead = UNSUPPORTED[name]
            message = f"{name} is not supported" + (f"; instead: {instead}" if instead else "")
            raise UnsupportedError(message, field=name, allowed=instead)
    return found


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    is_list = isinstance(items, list | tuple) and all(isinstance(s, str) for s in items)
    if not is_list or not isinstance(items, list | tuple):
        raise _refuse("stop", value, "a string or a list of strings")
    if len(items) > MAX_STOPS:
        raise _refuse("stop", f"{len(items)} strings", f"at most {MAX_STOPS}")
    for item in items:
        if not 0 < len(item) <= MAX_STOP_CHARS:
            allowed = f"strings of 1 to {MAX_STOP_CHARS} characters"
            raise _refuse("stop", f"one of {len(item)} characters", allowed)
    return tuple(items)


def _biases(value: object) -> dict[int, float]:
    allowed = "a map of token ids to numbers from -100 to 100"
    if not isinstance(value, Mapping) or len(value) > MAX_LIST:
        raise _refuse("logit_bias", value, f"{allowed}, at most {MAX_LIST} entries")
    biases: dict[int, float] = {}
    for key, bias in value.items():
        token = key
        if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 11:
            token = int(key)
        if not _is_integer(token) or not 0 <= token < 1 << 31 or token in biases:
            raise _refuse("logit_bias", key, allowed)
        if not _is_number(bias) or not -100 <= bias <= 100:
            raise _refuse("logit_bias", bias, allowed)
        biases[token] = float(bias)
    return biases
