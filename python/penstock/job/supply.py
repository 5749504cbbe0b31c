"""Which rows the engine's process gets, in which order, through its deaths.

Rows that were in flight when it died are given again. Those that were in flight at two deaths are
put aside and run alone when nothing else is left, so that one that kills the engine takes no other
with it; a row that was alone at its death, not for the first time, is the one to blame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from penstock.job.rows import Row

_DEATHS = 2  # of which a row was part, until it runs alone


class RowSupply:
    """Rows for a process that asks for them in numbers (see worker)."""

    def __init__(self, rows: Iterator[Row]) -> None:
        """`rows`: those that are still to be run, in the order of the input."""
        self._rows = rows
        self._again: deque[Row] = deque()
        self._suspects: deque[Row] = deque()
        self._in_flight: dict[int, Row] = {}
        self._deaths: dict[int, int] = {}
        self._owed, self._ended, self._holds = 0, False, False

    def messages(self, wanted: int = 0) -> Iterator[dict[str, Any]]:
        """What is to be said now to an engine that asks for `wanted` rows more.

        "wait" asks it to answer what it has before it looks for more.
        """
        self._owed += wanted
        while self._owed > 0 and not self._ended:
            row = self._again.popleft() if self._again else next(self._rows, None)
            if row is None and self._suspects and self._in_flight:
                if not self._holds:
                    yield {"type": "wait"}
                self._holds = True
                return
            if row is None and not self._suspects:
                self._ended = True
                yield {"type": "end"}
                return
            row = row or self._suspects.popleft()
            self._owed -= 1
            self._holds = False
            self._in_flight[row.line] = row
            yield {"type": "row", "row": row.to_wire()}

    def answered(self, line: int) -> None:
        """A row has its record."""
        self._in_flight.pop(line, None)

    def engine_died(self) -> Row | None:
        """Takes back what was in flight; returns the row that is to blame, if one is."""
        flying = list(self._in_flight.values())
        self._in_flight.clear()
        self._owed, self._ended, self._holds = 0, False, False
        for row in flying:
            self._deaths[row.line] = self._deaths.get(row.line, 0) + 1
        if len(flying) == 1 and self._deaths[flying[0].line] >= _DEATHS:
            return flying[0]
        for row in flying:
            put_aside = self._deaths[row.line] >= _DEATHS
            (self._suspects if put_aside else self._again).append(row)
        return None
