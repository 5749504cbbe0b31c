"""Machines to plan for without having them; docs/machines.md tells where their figures are from."""

from __future__ import annotations

from importlib.resources import files

_FOLDER = files("penstock.machine") / "data"


def shipped_machines() -> list[str]:
    """The names that ``--machine`` takes."""
    names = [entry.name for entry in _FOLDER.iterdir()]
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def shipped_machine(name: str) -> str:
    """The figures of one of them, as JSON text; "" for another name."""
    if name not in shipped_machines():
        return ""
    return _FOLDER.joinpath(f"{name}.json").read_text(encoding="utf-8")
