"""Whether a job starts its engine again after it failed, and what becomes of a row that kills it.

A device error, or a crash of the engine's process, may have had nothing to do with the rows, so the
engine is started again, three times in a row at most without a record between. A row that was to
blame gets an error record once the engine stands again and the job has shown that rows can be
answered; a device that answers nothing costs no row its result.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import DeviceError, EngineDiedError, PenstockError
from penstock.job.rows import Row

_IN_VAIN = 3  # deaths without a record between
_QUARANTINED = 16  # rows of one run
_FIRST_SECONDS, _GROWTH = 1.0, 4.0
# By hand, or by the kernel when memory is short; or a build for another processor. Started again it
# would end in the same way.
_FINAL = ("SIGKILL", "SIGTERM", "SIGILL")
_COUNTED = (
    *("seconds", "busiest_seconds", "sweeps", "prompt_tokens", "shared_tokens"),
    "generated_tokens",
)


@dataclass
class Restarts:
    """Deaths of one run's engines so far. ``first_seconds``: wait before the first restart."""

    first_seconds: float = _FIRST_SECONDS
    count: int = 0
    blamed: list[tuple[Row, PenstockError]] = field(default_factory=list)  # without a record yet
    _vain: int = 0
    _rows_done: int = -1
    _quarantined: int = 0

    def allow(self, error: PenstockError, rows_done: int, blamed: Row | None) -> bool:
        """Notes a death, with the rows that had their record by then, and who is to blame."""
        crashed = isinstance(error, EngineDiedError) and error.found not in _FINAL
        if not (crashed or isinstance(error, DeviceError)):
            return False
        self._vain = 1 if rows_done > self._rows_done else self._vain + 1
        self._rows_done = rows_done
        if blamed is not None:
            self.blamed.append((blamed, error))
            self._quarantined += 1
        self.count += 1
        return self._vain < _IN_VAIN and self._quarantined <= _QUARANTINED

    @property
    def seconds(self) -> float:
        """How long to wait before the next start."""
        return self.first_seconds * float(_GROWTH ** (self._vain - 1))


def verdict(error: PenstockError) -> PenstockError:
    """What the record of a row to blame says."""
    message = f"the engine failed each time with this row, at last alone: {error}"
    return type(error)(message, code=error.code)


def add_stats(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Stats of one engine after those of others of the same job: work adds up, peaks do not."""
    if not before:
        return now
    total = copy.deepcopy(now)
    for name in _COUNTED:
        total[name] = before.get(name, 0) + now.get(name, 0)
    for name, lane in before.get("lanes", {}).items():
        there = total.setdefault("lanes", {}).setdefault(name, dict.fromkeys(lane, 0))
        for figure, value in lane.items():
            there[figure] = there.get(figure, 0) + value
    for name, count in before.get("predicted_bytes", {}).items():
        planned = total.setdefault("predicted_bytes", {})
        planned[name] = planned.get(name, 0) + count
    for name, peak in before.get("peak_bytes", {}).items():
        peaks = total.setdefault("peak_bytes", {})
        peaks[name] = max(peaks.get(name, 0), peak)
    return total
