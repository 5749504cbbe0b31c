"""vLLM's names for what ``LLM`` takes: ours in their place, or a refusal that says what to use.

A name is accepted with the values that ask for nothing but what happens anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import InvalidArgumentError, UnsupportedError


@dataclass(frozen=True)
class _Name:
    """`as_is`: the values that change nothing. `instead`: what to use for the others."""

    as_is: tuple[object, ...] = (None,)
    instead: str = ""


_PIPELINE = 'device="cuda:0,cuda:1" divides the layers over several GPUs'
_POLICY = "policy={%s}"
_CONSTRUCTOR = {
    "tokenizer": _Name(instead="the tokenizer is the model folder's own"),
    "tokenizer_mode": _Name((None, "auto")),
    "skip_tokenizer_init": _Name((None, False), "prompts may be token ids"),
    "trust_remote_code": _Name((None, False), "no code of a model is run"),
    "dtype": _Name((None, "auto"), "weights= and kv= choose formats"),
    "quantization": _Name(instead='weights="int4" or "int8" packs the weights'),
    "kv_cache_dtype": _Name((None, "auto"), "kv= chooses the cache's format"),
    "revision": _Name(),
    "tokenizer_revision": _Name(),
    "download_dir": _Name(instead="the model is a folder on this machine"),
    "hf_token": _Name(),
    "load_format": _Name((None, "auto", "safetensors")),
    "gpu_memory_utilization": _Name(instead='device_memory="40GiB" is the ceiling on a GPU'),
    "swap_space": _Name((None, 0), "disk= and disk_memory= let caches spill"),
    "cpu_offload_gb": _Name((None, 0), "host_memory= is the ceiling; the planner decides"),
    "tensor_parallel_size": _Name((None, 1), _PIPELINE),
    "pipeline_parallel_size": _Name((None, 1), _PIPELINE),
    "data_parallel_size": _Name((None, 1)),
    "max_num_seqs": _Name(instead=_POLICY % '"max_sequences": N'),
    "max_num_batched_tokens": _Name(instead=_POLICY % '"prefill_chunk": N'),
    "enable_prefix_caching": _Name((None, True), _POLICY % '"share_prefix": false'),
    "enable_chunked_prefill": _Name((None, True)),
    "enforce_eager": _Name((None, True, False)),
    "disable_log_stats": _Name((None, True, False)),
    "disable_custom_all_reduce": _Name((None, True, False)),
    "max_logprobs": _Name((None, 20)),
    "enable_lora": _Name((None, False)),
    "speculative_config": _Name(),
    "hf_overrides": _Name((None, {})),
    "override_generation_config": _Name((None, {}), "SamplingParams"),
    "generation_config": _Name((None, "vllm"), "SamplingParams; end-of-text ids are always used"),
    "runner": _Name((None, "auto", "generate")),
    "task": _Name((None, "auto", "generate")),
    "chat_template": _Name(instead="chat(..., chat_template=TEXT)"),
}
_CALLS = {
    "lora_request": _Name(),
    "priority": _Name((None, 0)),
    "prompt_adapter_request": _Name(),
    "tokenization_kwargs": _Name((None, {})),
    "mm_processor_kwargs": _Name((None, {})),
    "continue_final_message": _Name((None, False)),
    "chat_template_content_format": _Name((None, "auto", "string")),
    "guided_options_request": _Name(),
}


def constructor_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``LLM`` in our own names; raises for those that Penstock does not do."""
    own = {n: v for n, v in given.items() if n not in (*_CONSTRUCTOR, "max_model_len")}
    for name in _CONSTRUCTOR.keys() & given.keys():
        _refuse_unless_as_is("LLM", name, given[name], _CONSTRUCTOR[name])
    length = given.get("max_model_len")
    if length is not None:
        if own.get("max_context") not in (None, 0, length):
            message = "max_model_len and max_context are one option; give one of them"
            raise InvalidArgumentError(message, field="max_model_len", found=length)
        own["max_context"] = length
    return own


def refuse_others(call: str, given: Mapping[str, Any], known: str) -> None:
    """Raises for keyword arguments of a call that are not among its own, `known` of them."""
    for name, value in given.items():
        if name not in _CALLS:
            message = f"{call}: unknown option {name!r}; allowed: {known}"
            raise InvalidArgumentError(message, field=name, allowed=known)
        _refuse_unless_as_is(call, name, value, _CALLS[name])


def _refuse_unless_as_is(call: str, name: str, value: object, known: _Name) -> None:
    if any(type(value) is type(plain) and value == plain for plain in known.as_is):
        return
    found = repr(value)[:80]
    message = f"{call}: {name}={found} is not supported"
    if known.instead:
        message += f"; instead: {known.instead}"
    raise UnsupportedError(message, field=name, found=found, allowed=known.instead)
