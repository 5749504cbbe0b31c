"""What GPU benchmarks tell of the card, and how they ration their time."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


def _output_of(*command: str) -> str:
    """What a command prints; "" where it cannot be run."""
    if shutil.which(command[0]) is None:
        return ""
    result = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT)
    return result.stdout.strip() if result.returncode == 0 else ""


def card() -> dict[str, Any]:
    """Name, driver, memory and clocks of the first GPU, the compiler, and the commit."""
    query = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit"
    asked = _output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0")
    names = [name.replace(".", "_") for name in query.split(",")]
    values = [value.strip() for value in asked.split(",")]
    compiler = _output_of("nvcc", "--version").splitlines()
    return {
        "card": dict(zip(names, values, strict=True)) if asked else {"name": "none"},
        "nvcc": compiler[-1] if compiler else "",
        "commit": commit(),
    }


def commit() -> str:
    """Of the sources: as git says, or PENSTOCK_COMMIT where they are a copy without it."""
    asked = _output_of("git", "rev-parse", "--short", "HEAD")
    changed = _output_of("git", "status", "--porcelain", "--untracked-files=no")
    return (
        asked + (" and changes" if changed else "")
        if asked
        else os.environ.get("PENSTOCK_COMMIT", "")
    )


def json_lines(command: list[str], seconds: float) -> list[dict[str, Any]]:
    """The JSON objects that a command prints, and one that tells of its failure or its end."""
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_ROOT
    )
    cut_off = False
    try:
        output, errors = running.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        running.kill()
        output, errors = running.communicate()
        cut_off = True
    lines = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    if running.returncode != 0:
        reason = "cut off: its time was up" if cut_off else errors.strip()[-2000:]
        lines.append({"failed": " ".join(command[1:3]), "error": reason})
    return lines


@dataclass
class Clock:
    """Seconds that may be used; work is not begun when less than it may take is left."""

    seconds: float
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.begun)
