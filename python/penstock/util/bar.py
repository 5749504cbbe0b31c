"""What a caller who waits is shown on standard error: a bar, and lines before it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from penstock.errors import InvalidArgumentError

_TITLE = "Prompts"


def speaker(wanted: object) -> Callable[[str], None] | None:
    """What prints a line on standard error where a bar is wanted; None where none is."""
    if not callable(wanted) and not isinstance(wanted, bool):
        found = repr(wanted)[:80]
        message = f"use_tqdm: found {found}, allowed: true, false or a class like tqdm.tqdm"
        raise InvalidArgumentError(message, field="use_tqdm", found=found)
    return _say if wanted else None


def _say(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(wanted: object, total: int) -> Iterator[Callable[[], None]]:
    """A function to call for each prompt that is done.

    `wanted`: False for no bar, True for one, or a class such as ``tqdm.tqdm`` that makes one when
    called with ``total`` and ``desc``, and has ``update`` and ``close``.
    """
    if callable(wanted):
        bar = wanted(total=total, desc=_TITLE)
        try:
            yield lambda: bar.update(1)
        finally:
            bar.close()
    elif speaker(wanted) is None:
        yield lambda: None
    else:
        with _rich_bar() as bar:
            task = bar.add_task(_TITLE, total=total)
            yield lambda: bar.advance(task)


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    return Progress(*columns, console=Console(stderr=True))
