"""What an engine would do, without one: the plan of a workload and what would change it."""

from __future__ import annotations

import json
from typing import Any, cast

from penstock.engine.measured import figures_about
from penstock.engine.native import Core
from penstock.engine.opening import Tell, choose_policy, native_options, tell_nobody
from penstock.engine.workload import Workload
from penstock.errors import engine_errors
from penstock.settings import EngineSettings


def plan(
    core: Core,
    settings: EngineSettings,
    workload: Workload,
    reserved_bytes: int = 0,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """What such an engine would do, from config.json alone; raises PenstockError.

    With a `prediction` of the job, and in it what a little more of something would buy. `tell`
    hears what is being done.
    """
    with engine_errors():
        options = native_options(core, settings, workload, reserved_bytes)
        given = options.policy
        choice = choose_policy(core, options, tell, workload.early_results)
        wanted = json.loads(given or "{}")
        result = cast("dict[str, Any]", json.loads(core.plan(options)))
        result["figures"] = figures_about(settings)
        if choice is None or "prediction" not in result:
            return result
        from penstock.planner import what_if

        def changed(**changes: Any) -> Any:
            other = native_options(core, settings, workload, reserved_bytes)
            for name, value in changes.items():
                setattr(other, name, value)
            return other

        tell("planning: what a change would give")
        result["planner"] = {"programs": choice.tried, "seconds": choice.seconds}
        result["planner"]["cost_of_early_results"] = choice.slower
        rate = result["prediction"]["tokens_per_second"]
        result["prediction"]["what_if"] = what_if(core, changed, (choice, rate), wanted)
        return result


def context_limit(core: Core, settings: EngineSettings) -> int:
    """Tokens that a row may have; 0 where the native module cannot tell before it opens a model."""
    if not hasattr(core, "Planning"):
        return 0
    facts = json.loads(planning(core, settings, Workload()).facts())
    return int(facts.get("max_context", 0))


def planning(core: Core, settings: EngineSettings, workload: Workload) -> Any:
    """Sizes, costs and dry runs of policies for such a job; raises PenstockError."""
    with engine_errors():
        return core.Planning(native_options(core, settings, workload, 0))
