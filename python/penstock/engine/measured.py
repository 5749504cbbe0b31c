"""The figures of the machine that an engine is planned with, found before it is planned."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

from penstock.engine.opening import AS_PUBLISHED, Tell
from penstock.errors import PenstockError
from penstock.machine.once import figures, kept_figures
from penstock.machine.place import Place
from penstock.settings import EngineSettings
from penstock.util.config import may_probe

_BUILT_IN = "the plan uses built-in figures, which may be off by several times"
_MORE = "penstock probe --disk FOLDER measures this machine"


def place_of(settings: EngineSettings) -> Place:
    """What the figures are of: the disk is that of spilled data, else of the weights."""
    packs = settings.weights not in AS_PUBLISHED and not settings.is_dummy
    folder = settings.disk or (settings.cache if packs else "")
    if not folder:
        folder = "." if settings.is_dummy else settings.model
    return Place(settings.device, settings.threads, Path(folder))


def with_figures(settings: EngineSettings, tell: Tell) -> EngineSettings:
    """The settings with figures of this machine, where none were given.

    They were kept, or are measured now, once for each machine and disk. `tell` hears of that before
    it begins, and where built-in figures have to do.
    """
    if settings.machine:
        return settings
    place = place_of(settings)
    if not (settings.probe and may_probe()):
        text = kept_figures(place) if settings.probe else ""
        if not text:
            tell(f"warning: {_BUILT_IN}; {_MORE}")
        return dataclasses.replace(settings, machine=text)
    try:
        return dataclasses.replace(settings, machine=figures(place, tell))
    except (PenstockError, OSError) as error:
        tell(f"warning: this machine could not be measured ({error}); {_BUILT_IN}")
        return settings


def figures_about(settings: EngineSettings) -> str:
    """What the figures of a plan are, in words."""
    if not settings.machine:
        return "built in, may be off by several times"
    try:
        return str(json.loads(settings.machine).get("about") or "given")
    except (ValueError, AttributeError):
        return "given"


def log_words(words: str) -> None:
    """For who has no listener: the logger "penstock", which writes to standard error by itself."""
    logging.getLogger("penstock").warning(words.removeprefix("warning: "))
