"""What the exit code of ``penstock`` says; docs/exit-codes.md is the page for people."""

from __future__ import annotations

from penstock.errors import PenstockError

OK = 0
INTERNAL = 1
REFUSED = 2
ROW_ERRORS = 3
STOPPED = 4
FAULT = 5

HELP = (
    "Exit codes. 0: every row has a result. 1: an error of Penstock itself. 2: refused, because of "
    "usage, input, model or settings. 3: finished, but some rows ended in an error. 4: stopped by "
    "a signal. 5: a fault, such as a full disk. After 4 and 5 the same command continues the job."
)

_REFUSED = frozenset(
    "invalid_argument unsupported not_found malformed budget job_changed locked corrupt".split()
)
_FAULTS = frozenset("io disk_full device engine_died memory corrupt cancelled".split())


def of_refusal(error: PenstockError) -> int:
    """The exit code of an error before any row ran."""
    if error.code in _REFUSED:
        return REFUSED
    return FAULT if error.code in _FAULTS else INTERNAL


def of_fault(error: PenstockError) -> int:
    """The exit code of an error while rows were running."""
    if error.code in _FAULTS:
        return FAULT
    return REFUSED if error.code in _REFUSED else INTERNAL
