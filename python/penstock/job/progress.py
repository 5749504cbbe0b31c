"""How a job goes, for people: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.2
_MANY_ROWS = 0.2  # share of the rows


@dataclass
class ProgressState:
    """Rows of the whole job; tokens, seconds and lanes of this run. Times are seconds.

    ``row_tokens`` is about how many tokens a row reads and generates; 0: unknown.
    """

    rows: int
    rows_done: int = 0
    rows_failed: int = 0
    rows_before: int = 0
    row_tokens: float = 0.0
    stats: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the first row could run."""
        return max(1e-9, time.monotonic() - self.started)

    @property
    def tokens(self) -> int:
        """Generated in this run."""
        return int(self.stats.get("generated_tokens", 0))

    @property
    def seconds_left(self) -> float | None:
        """By the rows that finished in this run once they are many, before by tokens.

        None while nothing tells.
        """
        finished, asked = self.rows_done - self.rows_before, self.rows - self.rows_before
        names = ("prompt_tokens", "shared_tokens", "generated_tokens")
        tokens = sum(self.stats.get(name, 0) for name in names)
        if self.row_tokens and tokens and finished < asked * _MANY_ROWS:
            return self.seconds / tokens * max(0.0, asked * self.row_tokens - tokens)
        return self.seconds / finished * (asked - finished) if finished > 0 else None

    def lanes_busy(self) -> dict[str, float]:
        """Share of the engine's time that each lane was busy, 0 to 1."""
        seconds = self.stats.get("seconds", 0.0)
        lanes = self.stats.get("lanes", {})
        if not seconds:
            return {}
        return {k: min(1.0, v["busy_seconds"] / seconds) for k, v in lanes.items() if v["tasks"]}


def format_seconds(seconds: float | None) -> str:
    """``1:05:09``, ``4:02`` or ``--:--``."""
    if seconds is None or seconds > 9e6:
        return "--:--"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes = f"{rest // 60:02d}" if hours else f"{rest // 60}"
    return f"{f'{hours}:' if hours else ''}{minutes}:{rest % 60:02d}"


def progress_text(state: ProgressState) -> str:
    """One line: rows, tokens a second, how busy the lanes are, time left."""
    parts = [f"{state.rows_done}/{state.rows} rows"]
    if state.rows_failed:
        parts.append(f"{state.rows_failed} errors")
    parts.append(f"{state.tokens / state.seconds:.1f} tokens/s")
    parts += [f"{lane} {share:.0%}" for lane, share in state.lanes_busy().items()]
    parts.append(f"{format_seconds(state.seconds_left)} left")
    return " · ".join(parts)


class Progress:
    """Shows a job's state; does nothing once closed."""

    def update(self, state: ProgressState) -> None:
        """Shows `state` when it is time to."""

    def close(self) -> None:
        """Ends the display."""


class PlainProgress(Progress):
    """A line every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown_at = stream, time.monotonic()

    def update(self, state: ProgressState) -> None:
        """Prints a line when the last one is some seconds old."""
        if time.monotonic() - self._shown_at >= _SECONDS_BETWEEN_LINES:
            self._shown_at = time.monotonic()
            print(progress_text(state), file=self._stream, flush=True)


class LiveProgress(Progress):
    """One line that changes in place."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        console = Console(file=stream)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._shown_at = 0.0

    def update(self, state: ProgressState) -> None:
        """Redraws the line a few times a second."""
        if time.monotonic() - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._shown_at = time.monotonic()
            self._live.update(self._text(progress_text(state), no_wrap=True), refresh=True)

    def close(self) -> None:
        """Takes the line away."""
        self._live.stop()


def open_progress(stream: TextIO | None = None) -> Progress:
    """Live on a terminal, plain elsewhere; on standard error by default."""
    chosen = stream or sys.stderr
    return LiveProgress(chosen) if chosen.isatty() else PlainProgress(chosen)
