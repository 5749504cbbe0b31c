"""The linear program of the shares, for one choice of everything else.

Variables: for weights (w), keys and values (c) and hidden rows (a) the share on each tier, and the
seconds T of a sweep in each phase of the job. Minimise the sum of sweeps * T, subject to

    T[phase] >= seconds of each lane in that phase,          linear in the shares
    bytes of each place <= its budget,                       linear in the shares

The coefficients are differences of exact evaluations with one kind moved to another tier. Sizes
are not quite linear (buffers exist or not, rows are whole), so a solution is evaluated exactly and
the program solved again with a smaller budget where it does not fit.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, replace
from typing import Any

import highspy

from penstock.planner.space import KINDS, LANES, PROGRAM_SECONDS, Evaluation, Space

_MOST_REPAIRS = 8
_SPARE = 1.002  # of what a solution lacked, taken off the budget
_LEAST_SHARE = 1e-4
_UNIT = float(1 << 30)  # rows in GiB: well-scaled
_OVERLAP_LOSS = 0.05  # of all work beside the busiest lane's


@dataclass(frozen=True)
class Coefficients:
    """A linear model around the policy with everything where the model computes."""

    base: Evaluation
    moves: dict[tuple[str, str], Evaluation]  # (kind, tier): all of the kind there

    def bytes_slope(self, move: tuple[str, str], place: int) -> float:
        """Bytes in a place for a whole share."""
        return float(self.moves[move].bytes[place] - self.base.bytes[place])

    def seconds_slope(self, move: tuple[str, str], phase: int, lane: int) -> float:
        """Seconds of a lane in a sweep of a phase for a whole share."""
        return self.moves[move].lanes[phase][lane] - self.base.lanes[phase][lane]


@dataclass(frozen=True)
class Solution:
    """Shares by kind and tier, the objective, and what a byte of each place is worth (seconds)."""

    shares: dict[str, dict[str, float]]
    seconds: float
    worth: tuple[float, ...]


def _shares_here(space: Space, choice: dict[str, Any]) -> dict[str, Any]:
    return {kind: choice.get(kind) or {space.here: 1.0} for kind in KINDS}


def _here(space: Space, choice: dict[str, Any]) -> Evaluation:
    """Everything that is open where the model computes."""
    return space.evaluate({**choice, **_shares_here(space, choice)})


def _least_seconds(choice: dict[str, Any], here: Evaluation) -> float:
    """No shares make the job shorter than this: what is computed stays the same."""
    if choice.get("host_attention"):
        return 0.0  # the host takes a part
    lane = LANES.index("compute")
    return sum(n * lanes[lane] for n, lanes in zip(here.sweeps, here.lanes, strict=True))


def measure(space: Space, choice: dict[str, Any], at: Evaluation | None = None) -> Coefficients:
    """Evaluates `choice` with each kind wholly on each tier it may be on.

    `at`: the evaluation with everything where the model computes, if it is known.
    """
    here = _shares_here(space, choice)
    base = at if at is not None else _here(space, choice)
    moves = {}
    for kind in KINDS:
        if choice.get(kind) is not None:
            continue  # the user's
        for tier in space.tiers:
            # Weights on disk are read from the checkpoint: they need no budget there.
            room = sum(base.budget[place] for place in base.places_of(tier))
            has_room = room > 0 or (kind, tier) == (KINDS[0], "disk")
            if tier != space.here and has_room:
                moves[kind, tier] = space.evaluate({**choice, **here, kind: {tier: 1.0}})
    return Coefficients(base, moves)


class ShareProgram:
    """The program of one choice, solved for several budgets."""

    def __init__(self, coefficients: Coefficients) -> None:
        """Builds it once."""
        self._of = coefficients
        self._moves = list(coefficients.moves)
        self._phases = [p for p, n in enumerate(coefficients.base.sweeps) if n > 0]
        self._solver = _solver()
        self._solver.clearModel()
        self._build()

    def _build(self) -> None:
        base, inf = self._of.base, highspy.kHighsInf
        add = self._solver.addVar
        for column, move in enumerate(self._moves):
            add(0.0, 1.0)
            self._solver.changeColCost(column, self._overlap_loss(move))
        for i, phase in enumerate(self._phases):
            add(0.0, inf)
            column = len(self._moves) + i
            self._solver.changeColCost(column, base.sweeps[phase])
        columns = list(range(len(self._moves)))
        for kind in KINDS:
            own = [c for c in columns if self._moves[c][0] == kind]
            if own:
                self._solver.addRow(0.0, 1.0, len(own), own, [1.0] * len(own))
        for i, phase in enumerate(self._phases):
            for lane in range(len(LANES)):
                slopes = [-self._of.seconds_slope(m, phase, lane) for m in self._moves]
                self._solver.addRow(
                    base.lanes[phase][lane],
                    inf,
                    len(columns) + 1,
                    [*columns, len(columns) + i],
                    [*slopes, 1.0],
                )
        self._memory_rows = []
        for place in range(len(base.places)):
            slopes = [self._of.bytes_slope(m, place) / _UNIT for m in self._moves]
            self._memory_rows.append(self._solver.getNumRow())
            self._solver.addRow(-inf, 0.0, len(columns), columns, slopes)

    def _overlap_loss(self, move: tuple[str, str]) -> float:
        """What work beside the busiest lane costs: lanes never hide each other wholly."""
        base, lost = self._of.base, 0.0
        for phase in self._phases:
            slopes = (self._of.seconds_slope(move, phase, lane) for lane in range(len(LANES)))
            lost += base.sweeps[phase] * sum(slopes)
        return _OVERLAP_LOSS * lost

    def solve(self, budget: tuple[float, ...]) -> Solution | None:
        """The best shares within `budget` (bytes by place); None when there are none."""
        base, inf = self._of.base, highspy.kHighsInf
        for number, row in enumerate(self._memory_rows):
            room = (budget[number] - base.bytes[number]) / _UNIT
            self._solver.changeRowBounds(row, -inf, room)
        self._solver.run()
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found = self._solver.getSolution()
        shares: dict[str, dict[str, float]] = {}
        for (kind, tier), value in zip(self._moves, found.col_value, strict=False):
            if value > _LEAST_SHARE:
                shares.setdefault(kind, {})[tier] = min(1.0, value)
        worth = tuple(-found.row_dual[row] / _UNIT for row in self._memory_rows)
        return Solution(shares, self._solver.getInfo().objective_function_value, worth)


@functools.lru_cache(maxsize=1)
def _solver() -> highspy.Highs:
    """One solver for all programs. Its maker greets on standard output, which is not ours."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        solver = highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    return solver


def fill(space: Space, choice: dict[str, Any], solution: Solution) -> dict[str, Any]:
    """The policy with these shares; what is left of each kind is where the model computes."""
    policy = dict(choice)
    for kind in KINDS:
        if choice.get(kind) is not None:
            continue
        shares = dict(solution.shares.get(kind, {}))
        rest = 1.0 - sum(shares.values())
        if rest < _LEAST_SHARE and shares:
            _, largest = max((share, tier) for tier, share in shares.items())
            shares[largest] += rest
        else:
            shares[space.here] = rest
        policy[kind] = shares
    return policy


def best_shares(
    space: Space, choice: dict[str, Any], within: float = math.inf
) -> tuple[Evaluation, Solution] | None:
    """The exact evaluation of the best shares that fit; None when none do.

    None too where no shares can be within so many seconds of the job.
    """
    here = _here(space, choice)
    if _least_seconds(choice, here) > within:
        return None
    program = ShareProgram(measure(space, choice, here))
    space.worked += PROGRAM_SECONDS
    budget = tuple(float(b) for b in here.budget)
    room = budget
    for _ in range(_MOST_REPAIRS):
        solution = program.solve(room)
        if solution is None:
            return None
        found = space.evaluate(fill(space, choice, solution))
        if found.fits:
            policy = fill(space, found.policy, solution)
            return replace(found, policy=policy, worth=solution.worth), solution
        lacks = [max(0.0, b - limit) for b, limit in zip(found.bytes, budget, strict=True)]
        room = tuple(r - _SPARE * x for r, x in zip(room, lacks, strict=True))
    return None
