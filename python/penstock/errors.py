"""The errors a caller of this package meets.

Every error is a :class:`PenstockError` with a stable ``code`` and, where it applies, the ``file``,
``field``, ``found`` and ``allowed`` values. The engine's own errors arrive as ``_core.Error`` and
leave :func:`engine_errors` as one of these classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_DETAILS = ("file", "field", "found", "allowed")


class PenstockError(RuntimeError):
    """Base class: something was refused or failed; ``code`` says what in one stable word."""

    code = "internal"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = str(details.get("code") or type(self).code)
        self.file = str(details.get("file", ""))
        self.field = str(details.get("field", ""))
        self.found = str(details.get("found", ""))
        self.allowed = str(details.get("allowed", ""))

    def record(self) -> dict[str, str]:
        """Code, message and the details that are set, as plain strings."""
        record = {"code": self.code, "message": str(self)}
        record.update({name: getattr(self, name) for name in _DETAILS if getattr(self, name)})
        return record


class InvalidArgumentError(PenstockError, ValueError):
    """A value the caller gave is not allowed."""

    code = "invalid_argument"


class UnsupportedError(PenstockError):
    """Understood, but not something Penstock does."""

    code = "unsupported"


class NotFoundError(PenstockError):
    """A file or folder that is needed does not exist."""

    code = "not_found"


class MalformedError(PenstockError):
    """A file does not follow its format."""

    code = "malformed"


class CorruptError(PenstockError):
    """Bytes changed after they were written."""

    code = "corrupt"


class BudgetError(PenstockError):
    """A memory budget is too small; the message names the smallest that works."""

    code = "budget"


class StorageError(PenstockError):
    """Reading or writing failed."""

    code = "io"


class DiskFullError(StorageError):
    """No space left where bytes had to be written."""

    code = "disk_full"


class DeviceError(PenstockError):
    """The compute device failed."""

    code = "device"


class EngineDiedError(PenstockError):
    """The engine's process ended without an answer."""

    code = "engine_died"


class JobChangedError(PenstockError):
    """A job cannot be continued: what its results depend on is not what it was."""

    code = "job_changed"


_CLASSES: dict[str, type[PenstockError]] = {
    cls.code: cls
    for cls in (
        *(InvalidArgumentError, UnsupportedError, NotFoundError, MalformedError, CorruptError),
        *(BudgetError, StorageError, DiskFullError, DeviceError, EngineDiedError, JobChangedError),
    )
}


def from_record(record: dict[str, str]) -> PenstockError:
    """The error that :meth:`PenstockError.record` described."""
    details = {name: record.get(name, "") for name in ("code", *_DETAILS)}
    return _CLASSES.get(details["code"], PenstockError)(record.get("message", ""), **details)


def from_engine(error: BaseException) -> PenstockError:
    """A ``_core.Error`` (or anything else the engine raised) as one of our classes."""
    if isinstance(error, PenstockError):
        return error
    details = {name: str(getattr(error, name, "") or "") for name in ("code", *_DETAILS)}
    if isinstance(error, MemoryError):
        details["code"] = "memory"
    return from_record({**details, "message": str(error) or type(error).__name__})


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raises what the engine raises inside the block as a :class:`PenstockError`."""
    try:
        yield
    except PenstockError:
        raise
    except (RuntimeError, MemoryError, TypeError, ValueError, OverflowError) as error:
        raise from_engine(error) from error
