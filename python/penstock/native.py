"""What this package needs of the native module, and how settings become its options.

Everything that runs an engine takes such a module as an argument (``core``), so that tests can
hand in a pretended one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from penstock.config import cublaslt_library
from penstock.errors import engine_errors
from penstock.settings import EngineSettings

if TYPE_CHECKING:
    from penstock.planner import Choice


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


@dataclass(frozen=True)
class Workload:
    """What is coming, for the policy; zeros: unknown. Lengths are tokens."""

    expected_rows: int = 0
    mean_prompt: int = 0
    max_prompt: int = 0
    mean_new: int = 0
    max_new: int = 0


_COPIED = (
    *("model", "device", "host_memory", "device_memory", "disk", "disk_memory", "weights", "kv"),
    *("compute", "invariant", "policy", "machine", "throttle", "cache", "threads", "max_context"),
    "pin_threads",
)


_PREDICTED_ROWS = 4096  # gone through; the rest is extrapolated
_PLAIN_STATS = (
    *("seconds", "busiest_seconds", "sweeps", "prompt_tokens", "shared_tokens"),
    *("generated_tokens", "active", "waiting"),
)


def open_engine(
    core: Core, settings: EngineSettings, workload: Workload, reserved_bytes: int = 0
) -> Engine:
    """An engine for `settings`; raises PenstockError.

    `reserved_bytes` of the host budget are in use already (by the tokenizer).
    """
    with engine_errors():
        options = _native_options(core, settings, workload, reserved_bytes)
        _search(core, options)
        return cast(Engine, core.Engine(options))


def plan(
    core: Core,
    settings: EngineSettings,
    workload: Workload,
    reserved_bytes: int = 0,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """What such an engine would do, from config.json alone; raises PenstockError.

    With a `prediction` of the job, and in it what a little more of something would buy. `tell`
    hears what is being done.
    """
    with engine_errors():
        options = _native_options(core, settings, workload, reserved_bytes)
        wanted = json.loads(options.policy or "{}")
        choice = _search(core, options, tell)
        told = cast("dict[str, Any]", json.loads(core.plan(options)))
        if choice is not None and "prediction" in told:
            from penstock.planner import what_if

            def changed(**changes: Any) -> Any:
                other = _native_options(core, settings, workload, reserved_bytes)
                for name, value in changes.items():
                    setattr(other, name, value)
                return other

            if tell is not None:
                tell("planning: what a change would give")
            told["planner"] = {"programs": choice.tried, "seconds": choice.seconds}
            rate = told["prediction"]["tokens_per_second"]
            told["prediction"]["what_if"] = what_if(core, changed, (choice, rate), wanted)
    return told


def planning(core: Core, settings: EngineSettings, workload: Workload) -> Any:
    """Sizes, costs and dry runs of policies for such a job; raises PenstockError."""
    with engine_errors():
        return core.Planning(_native_options(core, settings, workload, 0))


def _search(core: Core, options: Any, tell: Callable[[str], None] | None = None) -> Choice | None:
    """Fills in the policy where the search finds one; the engine refuses what fits no policy."""
    if not hasattr(core, "Planning"):
        return None
    from penstock.planner import choose

    choice = choose(core.Planning(options), json.loads(options.policy or "{}"), tell=tell)
    if choice is not None:
        options.policy = choice.text
    return choice


def _native_options(
    core: Core, settings: EngineSettings, workload: Workload, reserved_bytes: int
) -> Any:
    options = core.EngineOptions()
    for name in _COPIED:
        setattr(options, name, getattr(settings, name))
    options.cublaslt = cublaslt_library()
    options.reserved_host_memory = reserved_bytes
    for name, value in vars(workload).items():
        setattr(options, name, value)
    return options


def description(engine: Engine) -> dict[str, Any]:
    """Model, formats, policy and memory of an engine, as it tells them."""
    with engine_errors():
        told = json.loads(engine.describe())
    return told if isinstance(told, dict) else {"text": told}


def prediction(engine: Engine) -> dict[str, Any]:
    """What the workload that an engine was planned for will take; {} where it cannot tell."""
    if not hasattr(engine, "predict"):
        return {}
    with engine_errors():
        told = json.loads(engine.predict([], _PREDICTED_ROWS))
    return cast("dict[str, Any]", told)


def stats_dict(stats: Any) -> dict[str, Any]:
    """The engine's counters as JSON values; seconds and bytes."""
    told: dict[str, Any] = {name: getattr(stats, name) for name in _PLAIN_STATS}
    told["lanes"] = {
        str(name): {"busy_seconds": lane.busy_seconds, "bytes": lane.bytes, "tasks": lane.tasks}
        for name, lane in stats.lanes.items()
    }
    for name in ("predicted_bytes", "peak_bytes", "budget_bytes", "host_items"):
        told[name] = dict(getattr(stats, name))
    return told
