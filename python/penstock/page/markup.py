"""Pieces of charts as HTML: widths are parts of the page's, so that they fit any screen."""

from __future__ import annotations

from penstock.page.values import escaped

COLOURS = 10
_LEAST = 0.1  # percent: what is there can be seen


def colour(index: int) -> str:
    """The class of the n-th thing that has a colour of its own."""
    return f"c{index}" if index < COLOURS else "other"


def percentage(share: float) -> str:
    """A share of the room as a length of CSS; never more than all of it."""
    return f"{min(1.0, max(0.0, share)) * 100:.2f}".rstrip("0").rstrip(".") + "%"


def bar(share: float, css: str, title: str) -> str:
    """A filled part of a bar; `title` shows when the pointer rests on it."""
    wide = percentage(max(share, _LEAST / 100))
    return f'<i class="{css}" style="width:{wide}" title="{escaped(title)}"></i>'


def stack(parts: list[str], mark: float | None = None) -> str:
    """Parts side by side in one bar; `mark`: where an upright line stands."""
    line = "" if mark is None else f'<b class="budget" style="left:{percentage(mark)}"></b>'
    return f'<div class="stack">{"".join(parts)}{line}</div>'


def meter(share: float, css: str, words: str) -> str:
    """A bar filled to `share`, and words beside it."""
    filled = bar(share, css, words) if share else ""
    return f'<div class="meter">{stack([filled])}<span>{escaped(words)}</span></div>'


def legend(entries: list[tuple[str, str]]) -> str:
    """Swatches (class, words), as many in a line as the screen has room for."""
    shown = (f'<span><i class="{css}"></i>{escaped(words)}</span>' for css, words in entries)
    return f'<div class="legend">{"".join(shown)}</div>'
