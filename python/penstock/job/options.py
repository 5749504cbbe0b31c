"""A job: what it is given, how it is watched, how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.job.progress import Progress
from penstock.job.restarts import Restarts
from penstock.job.rows import RowDefaults
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings


@dataclass(frozen=True)
class JobOptions:
    """One job. ``sampling`` holds for every row that does not say otherwise.

    Conversations without max_tokens of their own go on to the end of the context, unless
    ``limits_chat``: then the limit of ``sampling`` holds for them too.
    """

    input: Path
    output: Path
    settings: EngineSettings
    sampling: SamplingParams = field(default_factory=SamplingParams)
    overwrite: bool = False
    trace: str = ""
    limits_chat: bool = False

    @property
    def defaults(self) -> RowDefaults:
        """The sampling parameters of rows that say nothing of them."""
        to_the_end = dataclasses.replace(self.sampling, max_tokens=None)
        return RowDefaults(self.sampling, self.sampling if self.limits_chat else to_the_end)


@dataclass(frozen=True)
class JobResult:
    """How a run ended; ``report`` is {} when nothing ran, ``error`` the fault if there was one."""

    exit_code: int
    report: dict[str, Any]
    error: PenstockError | None = None


def _ignore(_: str) -> None:
    return None


@dataclass
class JobHooks:
    """How a caller watches a job, and what stands in for the engine's process in tests."""

    progress: Callable[[], Progress] = Progress
    tell: Callable[[str], None] = _ignore
    doing: Callable[[str], None] = _ignore  # what is done now, before it may take a while
    worker_command: list[str] | None = None
    restarts: Callable[[], Restarts] = Restarts
