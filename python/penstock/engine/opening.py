"""Engines for a workload: settings become native options, the planner fills in what is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from penstock.engine.native import Core, Engine
from penstock.engine.workload import Workload
from penstock.errors import engine_errors
from penstock.settings import EngineSettings
from penstock.util.config import cublaslt_library

if TYPE_CHECKING:
    from penstock.planner import Choice

_COPIED = (
    *("model", "device", "host_memory", "device_memory", "disk", "disk_memory", "weights", "kv"),
    *("compute", "invariant", "policy", "machine", "throttle", "cache", "threads", "max_context"),
    "pin_threads",
)


# Called while weights are quantised into the cache, with bytes done and bytes in all.
Packing = Callable[[int, int], None]


def open_engine(
    core: Core,
    settings: EngineSettings,
    workload: Workload,
    reserved_bytes: int = 0,
    packing: Packing | None = None,
) -> Engine:
    """An engine for `settings`; raises PenstockError.

    `reserved_bytes` of the host budget are in use already (by the tokenizer). `packing` is called
    while weights are quantised; what it raises ends the work.
    """
    with engine_errors():
        options = native_options(core, settings, workload, reserved_bytes)
        choose_policy(core, options)
        if packing is None:
            return cast(Engine, core.Engine(options))
        return cast(Engine, core.Engine(options, packing))


def native_options(
    core: Core, settings: EngineSettings, workload: Workload, reserved_bytes: int
) -> Any:
    """The native module's options for `settings` and `workload`."""
    options = core.EngineOptions()
    for name in _COPIED:
        setattr(options, name, getattr(settings, name))
    options.cublaslt = cublaslt_library()
    options.reserved_host_memory = reserved_bytes
    for name, value in vars(workload).items():
        setattr(options, name, value)
    return options


def choose_policy(
    core: Core, options: Any, tell: Callable[[str], None] | None = None
) -> Choice | None:
    """Fills in the policy where the search finds one; the engine refuses what fits no policy."""
    if not hasattr(core, "Planning"):
        return None
    from penstock.planner import choose

    choice = choose(core.Planning(options), json.loads(options.policy or "{}"), tell=tell)
    if choice is not None:
        options.policy = choice.text
    return choice
