"""What the environment decides. The only module that reads environment variables.

``PENSTOCK_CACHE``    folder for packed weights, instead of ``MODEL/.penstock``.
``PENSTOCK_MACHINE``  file that ``penstock probe`` writes and engines read, instead of
                      ``penstock/machine.json`` in the user's cache folder.
``PENSTOCK_CUBLASLT`` the libcublasLt that GPUs multiply dense 16-bit weights with, instead of that
                      of the package nvidia-cublas or of the system; ``off``: our own kernels.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
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


def cublaslt_library() -> str:
    """What the engine is told of libcublasLt: a path, "off", or "" for what the loader finds."""
    named = os.environ.get("PENSTOCK_CUBLASLT", "")
    if named:
        return named
    found = find_spec("nvidia")  # shared by the packages that bring parts of CUDA
    for folder in (found and found.submodule_search_locations) or ():
        library = Path(folder) / "cu13" / "lib" / "libcublasLt.so.13"
        if library.is_file():
            return str(library)
    return ""


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(base) / "penstock"
