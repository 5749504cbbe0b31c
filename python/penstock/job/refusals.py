"""Jobs whose rows are refused: an early end where all are, and a summary at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import PenstockError, from_record

# That many rows at the beginning of a job, all refused, end it before the model is read.
MANY_REFUSED = 100


def all_refused(first: PenstockError, count: int) -> PenstockError:
    """What ends a job whose first `count` rows are refused; it names the first reason."""
    record = first.record()
    record["message"] = f"the first {count} rows are all refused; the first because of: {first}"
    return from_record(record)


def refuse_if_all_are(errors: Iterable[PenstockError | None]) -> None:
    """Raises when the first `MANY_REFUSED` rows are all refused; None stands for a good row."""
    first, count = None, 0
    for error in errors:
        if error is None:
            return
        first, count = first or error, count + 1
        if count == MANY_REFUSED:
            raise all_refused(first, count)


@dataclass
class ErrorSummary:
    """The errors of a run's rows, by code, with the first of each as an example."""

    by_code: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, line: int, record: bytes) -> None:
        """Counts the error of a row by its record."""
        error = json.loads(record)["error"]
        found = self.by_code.setdefault(
            error["code"], {"count": 0, "line": line, "message": error["message"]}
        )
        found["count"] += 1
