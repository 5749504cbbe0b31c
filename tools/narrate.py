"""Runs a long command, keeps what it prints in a log, and shows how far it is.

    python tools/narrate.py build/logs/package.log "the package" pip install -v .

A line at least every ten seconds: the step that a build or a test run is at, or the time so far.
Where the command fails, the end of the log is printed. The exit status is the command's. It stands
on the standard library alone: it runs before anything is installed.
"""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

SECONDS_BETWEEN = 5.0  # lines, while the command prints
SECONDS_SILENT = 10.0  # the longest time without a line
LINES_OF_FAILURE = 60

# A step of Ninja, "[3/120] Building ...", and one of CTest, "3/12 Test #3: io ... Passed".
_STEP = re.compile(r"^\s*\[?(\d+)/(\d+)\]? (?:Test +#\d+: )?(.*)")
_OBJECT = re.compile(r"(?:CXX|CUDA) object (?:\S*CMakeFiles/)?\S*\.dir/(\S+)\.o\b")


def step_of(line: str) -> str | None:
    """The step that a printed line tells of, in words, or None."""
    match = _STEP.match(line)
    if not match:
        return None
    made = _OBJECT.search(match[3])
    what = made[1] if made else " ".join(match[3].split()[:4])
    return f"{match[1]} of {match[2]}, {what}"


class Narrator:
    """Says how far a command is, at most so often and at least so often."""

    def __init__(self, label: str, say=lambda text: print(text, flush=True)) -> None:
        self._label, self._say = label, say
        self._begin = self._said = 0.0
        self._step = ""

    def start(self, now: float) -> None:
        """Begins at this time, in seconds of any clock."""
        self._begin = self._said = now
        self._say(f"{self._label} ...")

    def hear(self, line: str, now: float) -> None:
        """Takes a line that the command printed."""
        step = step_of(line)
        if step is None:
            return
        self._step = step
        if now - self._said >= SECONDS_BETWEEN:
            self._tell(now)

    def wait(self, now: float) -> None:
        """Notes that time has passed."""
        if now - self._said >= SECONDS_SILENT:
            self._tell(now)

    def end(self, now: float, status: int) -> None:
        """Says that the command has ended."""
        how = "done" if status == 0 else f"failed with status {status}"
        self._say(f"{self._label}: {how} after {now - self._begin:.0f} s")

    def _tell(self, now: float) -> None:
        self._said = now
        step = f": {self._step}" if self._step else ""
        self._say(f"  {now - self._begin:4.0f} s{step}")


def _read(stream: Iterable[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def run(log: Path, label: str, command: list[str]) -> int:
    """Runs the command and narrates it; its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=LINES_OF_FAILURE)
    lines: queue.Queue[str | None] = queue.Queue()
    narrator = Narrator(label)
    narrator.start(time.monotonic())
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    with log.open("w") as kept:
        while True:
            try:
                line = lines.get(timeout=1.0)
            except queue.Empty:
                narrator.wait(time.monotonic())
                continue
            if line is None:
                break
            kept.write(line)
            kept.flush()
            tail.append(line)
            narrator.hear(line, time.monotonic())
            narrator.wait(time.monotonic())
    status = process.wait()
    narrator.end(time.monotonic(), status)
    if status != 0:
        sys.stdout.write("".join(tail))
        print(f"all of it is in {log}", flush=True)
    return status


def main() -> int:
    """Runs the command line of this module."""
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    return run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
