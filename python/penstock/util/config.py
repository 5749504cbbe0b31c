"""What the environment decides. The only module that reads environment variables.

``PENSTOCK_CACHE``    folder for packed weights, instead of ``MODEL/.penstock``.
``PENSTOCK_MACHINE``  file that ``penstock probe`` writes and engines read, instead of one for each
                      machine and disk in ``penstock/machines`` of the user's cache folder.
``PENSTOCK_PROBE``    ``off``: no machine is measured unasked, as with ``--no-probe``.
``PENSTOCK_CUBLASLT`` the libcublasLt that GPUs multiply dense 16-bit weights with, instead of that
                      of the package nvidia-cublas or of the system; ``off``: our own kernels.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir


def cache_folder(model: str, chosen: str = "") -> str:
    """Where packed weights of `model` go; "" leaves it to the engine (``MODEL/.penstock``).

    In order: the caller's choice, ``PENSTOCK_CACHE``, the model's folder when it is writable and no
    part of another tool's cache, and else the user's cache folder.
    """
    if chosen:
        return chosen
    named = os.environ.get("PENSTOCK_CACHE", "")
    if named or model.startswith("dummy:"):
        return named
    if os.access(model, os.W_OK) and not is_shared_cache(Path(model)):
        return named
    return str(_user_cache())


def is_shared_cache(folder: Path) -> bool:
    """Whether a model folder belongs to the cache of another tool, as Hugging Face's does.

    There ``snapshots/REVISION`` stands beside ``blobs`` or below ``models--ORGANISATION--NAME``,
    and files are links.
    """
    above, owner = ([*folder.absolute().parents, Path(), Path()])[:2]
    if above.name == "snapshots":
        if owner.name.startswith("models--") or (owner / "blobs").is_dir():
            return True
    return any(file.is_symlink() for file in folder.glob("*.safetensors"))


def named_machine_file() -> Path | None:
    """The file of figures that ``PENSTOCK_MACHINE`` names."""
    named = os.environ.get("PENSTOCK_MACHINE", "")
    return Path(named) if named else None


def machine_file(key: str) -> Path:
    """Where the figures of a machine and disk are kept; `key` names both."""
    return named_machine_file() or _user_cache() / "machines" / f"{key}.json"


def may_probe() -> bool:
    """Whether a machine without figures may be measured unasked."""
    return os.environ.get("PENSTOCK_PROBE", "") != "off"


def cublaslt_library() -> str:
    """The libcublasLt that the engine is to use: a path, "off", or "" for what the loader finds."""
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
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base:
        return Path(base) / "penstock"
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home
        return _temporary_cache()
    cache = home / ".cache"
    is_writable = os.access(cache if cache.exists() else home, os.W_OK)
    return cache / "penstock" if is_writable else _temporary_cache()


def _temporary_cache() -> Path:
    return Path(gettempdir()) / f"penstock-{os.getuid()}"
