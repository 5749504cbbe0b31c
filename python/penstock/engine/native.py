"""What this package needs of the native module, and what an engine reports as JSON values.

Everything that runs an engine takes such a module as an argument (``core``), so that tests can
hand in a pretended one.
"""

from __future__ import annotations

import json
from typing import Any, Protocol, cast

from penstock.errors import engine_errors


class Engine(Protocol):
    """One engine; not thread safe."""

    def submit(self, request: Any) -> int:
        """Takes a request; its number."""
        ...

    def step(self) -> list[Any]:
        """One sweep; what is new."""
        ...

    def idle(self) -> bool:
        """Whether nothing is in flight."""
        ...

    def cancel(self, request: int) -> None:
        """Drops a request; unknown ones are ignored."""
        ...

    def logits(self, tokens: list[int]) -> Any:
        """Logits of every position, shape (tokens, vocabulary)."""
        ...

    def stats(self) -> Any:
        """Counters since the engine was made."""
        ...

    def describe(self) -> str:
        """JSON text: model, formats, policy, memory."""
        ...

    def predict(self, rows: list[Any], most_rows: int = 0) -> str:
        """JSON text: what these rows, or those planned for, will take."""
        ...

    def vocab(self) -> int:
        """Size of the vocabulary."""
        ...

    def max_context(self) -> int:
        """Tokens a row may have."""
        ...

    def record_trace(self, on: bool) -> None:
        """Starts or stops recording."""
        ...

    def take_trace(self) -> str:
        """The events since, as Chrome trace JSON."""
        ...


class Core(Protocol):
    """The native module: its classes have the fields of cpp/include/penstock/engine.h."""

    EngineOptions: Any
    Sampling: Any
    Request: Any
    Engine: Any
    ProbeOptions: Any
    Planning: Any
    RowTokens: Any

    def version(self) -> str:
        """major.minor.patch."""
        ...

    def dummy_names(self) -> list[str]:
        """Names that ``dummy:NAME`` takes."""
        ...

    def plan(self, options: Any) -> str:
        """What an engine with these options would do; JSON text."""
        ...

    def probe_machine(self, options: Any) -> str:
        """Measures this machine; JSON text."""
        ...

    def dummy_config(self, name: str) -> str:
        """config.json of one of them."""
        ...


def native_core() -> Core:
    """The compiled engine."""
    from penstock import _core

    return cast(Core, _core)


_PREDICTED_ROWS = 4096  # gone through; the rest is extrapolated
_PLAIN_STATS = (
    *("seconds", "busiest_seconds", "sweeps", "prompt_tokens", "shared_tokens"),
    *("generated_tokens", "active", "waiting"),
)


def description(engine: Engine) -> dict[str, Any]:
    """Model, formats, policy and memory of an engine, as it tells them."""
    with engine_errors():
        described = json.loads(engine.describe())
    return described if isinstance(described, dict) else {"text": described}


def prediction(engine: Engine) -> dict[str, Any]:
    """What the workload that an engine was planned for will take; {} where it cannot tell."""
    if not hasattr(engine, "predict"):
        return {}
    with engine_errors():
        predicted = json.loads(engine.predict([], _PREDICTED_ROWS))
    return cast("dict[str, Any]", predicted)


def stats_dict(stats: Any) -> dict[str, Any]:
    """The engine's counters as JSON values; seconds and bytes."""
    counters: dict[str, Any] = {name: getattr(stats, name) for name in _PLAIN_STATS}
    counters["lanes"] = {
        str(name): {"busy_seconds": lane.busy_seconds, "bytes": lane.bytes, "tasks": lane.tasks}
        for name, lane in stats.lanes.items()
    }
    for name in ("predicted_bytes", "peak_bytes", "budget_bytes", "host_items"):
        counters[name] = dict(getattr(stats, name))
    return counters
