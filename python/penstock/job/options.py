"""A job: what it is given, how it is watched, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.job.progress import Progress
from penstock.job.restarts import Restarts
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings


@dataclass(frozen=True)
class JobOptions:
    """One job. ``sampling`` holds for every row that does not say otherwise."""

    input: Path
    output: Path
    settings: EngineSettings
    sampling: SamplingParams = field(default_factory=SamplingParams)
    overwrite: bool = False
    trace: str = ""


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
