"""What the environment decides. The only module that reads environment variables.

``PENSTOCK_CACHE``    folder for packed weights, instead of ``MODEL/.penstock``.
``PENSTOCK_MACHINE``  file that ``penstock probe`` writes and engines read, instead of
                      ``penstock/machine.json`` in the user's cache folder.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(model: str, chosen: str = "") -> str:
    """Where packed weights of `model` go; "" leaves it to the engine (``MODEL/.penstock``).

    In order: the caller's choice, ``PENSTOCK_CACHE``, the model's folder when it is writable, and
    the user's cache folder when it is not.
    """
    if chosen:
        return chosen
    named = os.environ.get("PENSTOCK_CACHE", "")
    if named or model.startswith("dummy:") or os.access(model, os.W_OK):
        return named
    return str(_user_cache())


def machine_file() -> Path:
    """Where the figures of this machine are kept."""
    named = os.environ.get("PENSTOCK_MACHINE", "")
    return Path(named) if named else _user_cache() / "machine.json"


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(base) / "penstock"
