"""Penstock runs language models that are larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.errors import PenstockError
    from penstock.llm import LLM
    from penstock.outputs import CompletionOutput, RequestOutput, ScoreOutput
    from penstock.sampling import SamplingParams

    __version__: str

_HOMES = {
    "LLM": "penstock.llm",
    "SamplingParams": "penstock.sampling",
    "PenstockError": "penstock.errors",
    "RequestOutput": "penstock.outputs",
    "CompletionOutput": "penstock.outputs",
    "ScoreOutput": "penstock.outputs",
}

__all__ = [
    "LLM",
    "CompletionOutput",
    "PenstockError",
    "RequestOutput",
    "SamplingParams",
    "ScoreOutput",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Loads public names when they are first used: the command line's parent stays small."""
    from importlib import import_module

    if name == "__version__":
        return import_module("penstock._core").version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
