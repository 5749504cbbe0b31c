"""Engines for a workload: settings become native options, the planner fills in what is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from penstock.engine.native import Core, Engine
from penstock.engine.packing import Packing, PackingPace, packing_text
from penstock.engine.workload import Workload
from penstock.errors import engine_errors
from penstock.settings import EngineSettings
from penstock.util.config import cublaslt_library

if TYPE_CHECKING:
    from penstock.planner import Choice

Tell = Callable[[str], None]
AS_PUBLISHED = ("auto", "fp32", "fp16", "bf16")
_COPIED = (
    *("model", "device", "host_memory", "device_memory", "disk", "disk_memory", "weights", "kv"),
    *("compute", "invariant", "policy", "machine", "throttle", "cache", "threads", "max_context"),
    "pin_threads",
)
_OF_WORKLOAD = ("expected_rows", "mean_prompt", "max_prompt", "mean_new", "max_new")


def tell_nobody(_: str) -> None:
    """Drops every message."""


@dataclass(frozen=True)
class Listener:
    """Who hears what is done while an engine is opened; what it raises ends the work.

    `doing` is called with what is done before each step that may take a while.
    """

    doing: Tell = tell_nobody
    packing: Packing | None = None

    @classmethod
    def of(cls, tell: Tell) -> Listener:
        """One that hears of everything in words."""
        pace = PackingPace(lambda done, total: tell(packing_text(done, total)))
        return cls(tell, None if tell is tell_nobody else pace)


def open_engine(
    core: Core,
    settings: EngineSettings,
    workload: Workload,
    reserved_bytes: int = 0,
    listener: Listener = Listener(),  # noqa: B008 a frozen value
) -> Engine:
    """An engine for `settings`; raises PenstockError.

    `reserved_bytes` of the host budget are in use already (by the tokenizer).
    """
    with engine_errors():
        options = native_options(core, settings, workload, reserved_bytes)
        choose_policy(core, options, listener.doing, workload.early_results)
        packs = settings.weights not in AS_PUBLISHED and not settings.is_dummy
        first = f"; the first time, its weights are packed as {settings.weights}" if packs else ""
        listener.doing(f"loading {settings.model}{first}")
        if listener.packing is None:
            return cast(Engine, core.Engine(options))
        return cast(Engine, core.Engine(options, listener.packing))


def native_options(
    core: Core, settings: EngineSettings, workload: Workload, reserved_bytes: int
) -> Any:
    """The native module's options for `settings` and `workload`."""
    options = core.EngineOptions()
    for name in _COPIED:
        setattr(options, name, getattr(settings, name))
    options.cublaslt = cublaslt_library()
    options.reserved_host_memory = reserved_bytes
    for name in _OF_WORKLOAD:
        setattr(options, name, getattr(workload, name))
    return options


def refuse_wrong_options(core: Core, settings: EngineSettings) -> None:
    """What config.json alone shows to be wrong; raises PenstockError."""
    with engine_errors():
        native = core.Planning(native_options(core, settings, Workload(), 0))
        _checked_policy(native, settings.policy)


def choose_policy(
    core: Core, options: Any, tell: Tell = tell_nobody, early_results: bool = False
) -> Choice | None:
    """Fills in the policy where the search finds one; the engine refuses what fits no policy."""
    if not hasattr(core, "Planning"):
        return None
    from penstock.planner import choose

    native = core.Planning(options)
    wanted = _checked_policy(native, options.policy)
    choice = choose(native, wanted, tell=tell, early_results=early_results)
    if choice is not None:
        options.policy = choice.text
    return choice


def _checked_policy(native: Any, text: str) -> dict[str, Any]:
    """The user's part of a policy. The native module refuses what is wrong in it, by field.

    Whether it fits is for the search to find out.
    """
    if not text:
        return {}
    try:
        native.evaluate(text)
    except RuntimeError as error:
        if getattr(error, "code", "") in ("invalid_argument", "malformed", "unsupported"):
            raise
    return cast("dict[str, Any]", json.loads(text))
