"""``penstock bench``: one made-up workload, timed, as a JSON object."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import random
import re
import time
from pathlib import Path
from typing import Any

from penstock.cli_options import WorkloadArgs
from penstock.errors import InvalidArgumentError
from penstock.memory import peak_resident_bytes
from penstock.native import (
    Core,
    Workload,
    description,
    native_core,
    open_engine,
    prediction,
    stats_dict,
)
from penstock.requests import RequestLoop, Work
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings


def machine_facts() -> dict[str, Any]:
    """Processor, cores this process may use, and memory in bytes."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }


# What stands on top of a policy so that the engine schedules as another system does: FlexGen's
# blocks of rows that begin and end together, weights of the next module fetched whole under the
# first micro-batch, a barrier after each micro-batch, tensors that are never cut.
SCHEDULES: dict[str, dict[str, Any]] = {
    "flexgen": {
        "admission": "block",
        "step_barrier": True,
        "whole_tensors": True,
        "share_prefix": False,
        "kv_split": False,
    },
}


def scheduled_as(settings: EngineSettings, name: str, prompt_len: int) -> EngineSettings:
    """The settings with a policy that is scheduled as `name` does; shares stay as they are.

    Where the policy says how many sequences a micro-batch has, it reads their prompts in one go.
    """
    if name not in SCHEDULES:
        allowed = ", ".join(SCHEDULES)
        message = f"as: found {name!r}, allowed: {allowed}"
        raise InvalidArgumentError(message, field="as", found=name, allowed=allowed)
    try:
        policy = json.loads(settings.policy or "{}")
    except ValueError as error:
        raise InvalidArgumentError(f"policy: not JSON: {error}", field="policy") from None
    policy.update(SCHEDULES[name])
    if isinstance(policy.get("micro_batch"), int):
        policy["prefill_chunk"] = policy["micro_batch"] * prompt_len
    policy.pop("pace", None)
    return dataclasses.replace(settings, policy=json.dumps(policy))


def run_bench(
    settings: EngineSettings, workload: WorkloadArgs, core: Core | None = None
) -> dict[str, Any]:
    """Runs rows of random token ids, each to its last token; greedy.

    Seconds are of the whole run after the engine stands, prompts included. Tokens are generated
    ones.
    """
    chosen = core or native_core()
    rows, prompt, new = workload.rows, workload.prompt_len, workload.new
    begun = time.monotonic()
    engine = open_engine(chosen, settings, Workload(rows, prompt, prompt, new, new))
    predicted = prediction(engine)
    opened = time.monotonic()
    loop = RequestLoop(chosen, engine, None)
    made, vocab = random.Random(settings.seed), engine.vocab()
    params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
    for row in range(rows):
        loop.submit(Work(row, [made.randrange(vocab) for _ in range(prompt)], params, [row]))
    generated = 0
    while not loop.idle:
        generated += sum(len(o.token_ids) for done in loop.step() for o in done.outputs)
    seconds = time.monotonic() - opened
    return {
        "model": settings.model,
        "rows": rows,
        "prompt_len": prompt,
        "new": new,
        "open_seconds": opened - begun,
        "seconds": seconds,
        "generated_tokens": generated,
        "tokens_per_second": generated / seconds,
        "peak_rss_bytes": peak_resident_bytes(),
        "engine": description(engine),
        "stats": stats_dict(engine.stats()),
        "prediction": predicted,
        "machine": machine_facts(),
        "version": chosen.version(),
    }
