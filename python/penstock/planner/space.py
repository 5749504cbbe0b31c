"""What the native ``Planning`` tells of a model on a machine, as values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Protocol

TIERS = ("device", "host", "disk")
KINDS = ("weight_share", "kv_share", "activation_share")
WAVES = 3  # of rows in flight that a dry run goes through
LANES = ("compute", "host_compute", "h2d", "d2h", "disk_read", "disk_write")


class NativePlanning(Protocol):
    """penstock._core.Planning."""

    def facts(self) -> str:
        """JSON: what does not depend on the policy."""
        ...

    def evaluate(self, policy: str) -> str:
        """JSON: bytes by tier and seconds of one policy."""
        ...

    def predict(
        self, policy: str, rows: list[Any], most_rows: int = 0, with_sweep: bool = False
    ) -> str:
        """JSON: the dry run of a job."""
        ...

    def sketch(self, policy: str, most_rows: int = 0) -> str:
        """JSON: the same of the workload's rows, quicker and nearly right."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One policy in closed form. Bytes by place; seconds by phase and lane.

    `places`: the tiers, of several accelerators each one: "device", "device:1", "disk", "host".
    `worth`: seconds of the job that a byte more of each place would save at the margin, which are
    the dual values of the linear program that chose the shares; () where none did.
    """

    policy: dict[str, Any]
    places: tuple[str, ...]
    bytes: tuple[int, ...]
    budget: tuple[int, ...]
    fits: bool
    seconds: float
    sweeps: tuple[float, ...]
    lanes: tuple[tuple[float, ...], ...]
    worth: tuple[float, ...] = ()

    def places_of(self, tier: str) -> list[int]:
        """Indices of the places that make up a tier."""
        return [i for i, place in enumerate(self.places) if place.split(":")[0] == tier]


# What work takes on a usual processor, in seconds. Searches end by such seconds and not by a clock,
# so that the same question has the same answer on every machine.
PROGRAM_SECONDS = 3e-3  # a linear program and its evaluations
_RUN_SECONDS = 10e-3
_STEP_SECONDS = 0.25e-6  # of a dry run
_TOKEN_SECONDS = 2e-6  # that it generates


class Space:
    """Policies of one model, workload and machine, and the work spent on them.

    `worked`: seconds that this work takes on a usual processor.
    """

    def __init__(self, native: NativePlanning) -> None:
        """Reads the facts."""
        self._native = native
        self.worked = 0.0
        self.facts: dict[str, Any] = json.loads(native.facts())

    @property
    def here(self) -> str:
        """The tier the model computes on."""
        return "device" if self.facts["accelerator"] else "host"

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers that hold anything on this device."""
        return TIERS if self.facts["accelerator"] else TIERS[1:]

    def evaluate(self, policy: dict[str, Any]) -> Evaluation:
        """Sizes and seconds of a policy, completed where it is open."""
        evaluated = json.loads(self._native.evaluate(json.dumps(policy)))
        phases, places = evaluated["phases"], tuple(evaluated["bytes"])
        return Evaluation(
            policy=evaluated["policy"],
            places=places,
            bytes=tuple(evaluated["bytes"][place] for place in places),
            budget=tuple(evaluated["budget"][place] for place in places),
            fits=evaluated["fits"],
            seconds=evaluated["seconds"],
            sweeps=tuple(phase["sweeps"] for phase in phases),
            lanes=tuple(tuple(phase["lanes"][lane] for lane in LANES) for phase in phases),
        )

    def of_a_sweep(self, sequences: int) -> int:
        """Rows that one sweep serves; several accelerators have one in flight each."""
        return math.ceil(sequences / int(self.facts["sweeps"]))

    def predict(self, policy: dict[str, Any], most_rows: int) -> dict[str, Any]:
        """The dry run of the workload under a complete policy."""
        text = self._native.predict(json.dumps(policy), [], most_rows, False)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def sketch(self, policy: dict[str, Any], most_rows: int) -> dict[str, Any]:
        """The same in larger panels, which is quicker; seconds are nearly right."""
        answer: dict[str, Any] = json.loads(self._native.sketch(json.dumps(policy), most_rows))
        rows = min(int(self.facts["rows"]) or most_rows, most_rows)
        tokens = rows * int(self.facts["fresh"])
        self.worked += _RUN_SECONDS + _STEP_SECONDS * answer["steps"] + _TOKEN_SECONDS * tokens
        return answer
