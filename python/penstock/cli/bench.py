"""``penstock bench``: one made-up workload, timed, as a JSON object."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from typing import Any

from penstock.engine.loop import RequestLoop, Work
from penstock.engine.native import Core, description, native_core, prediction, stats_dict
from penstock.engine.opening import Listener, Tell, open_engine, tell_nobody
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError
from penstock.machine.facts import machine_facts
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.util.memory import peak_resident_bytes

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
    settings: EngineSettings,
    workload: Workload,
    core: Core | None = None,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """Runs rows of random token ids, all as long as the longest, each to its last token; greedy.

    Seconds are of the whole run after the engine stands, prompts included. Tokens are generated
    ones.
    """
    chosen = core or native_core()
    rows, prompt, new = workload.expected_rows, workload.max_prompt, workload.max_new
    begun = time.monotonic()
    engine = open_engine(chosen, settings, workload, listener=Listener.of(tell))
    predicted = prediction(engine)
    opened = time.monotonic()
    tell(f"running {rows} rows")
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
