"""Result files: one JSON object each, written whole or not at all, without paths of the machine."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Criterion:
    """A figure that has to be at most (or at least) a limit."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    def to_json(self) -> dict[str, Any]:
        met = self.value <= self.limit if self.at_most else self.value >= self.limit
        bound = "at_most" if self.at_most else "at_least"
        return {"what": self.what, "value": self.value, bound: self.limit, "met": met}


def limit_text(criterion: dict[str, Any]) -> str:
    """The limit of a criterion as written, as "<= 1.15"."""
    if "at_most" in criterion:
        return f"<= {criterion['at_most']:.6g}"
    return f">= {criterion['at_least']:.6g}"


class Results:
    """A folder of result files, NAME.json each; `replaced` are paths and what is shown instead."""

    def __init__(self, folder: Path = RESULTS, replaced: dict[str, str] | None = None) -> None:
        self.folder, self._replaced = folder, replaced or {}

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any]:
        """A result that was written before; {} without one, or when it tells of a failure."""
        path = self.path(name)
        result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {} if result.get("failed") else result

    def write(self, name: str, result: dict[str, Any]) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        shown = _scrubbed({"name": name, "date": date, **result}, self._replaced)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)


def _scrubbed(value: Any, replaced: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_scrubbed(k, replaced): _scrubbed(v, replaced) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(v, replaced) for v in value]
    if isinstance(value, str):
        for path, shown in sorted(replaced.items(), key=lambda item: -len(item[0])):
            value = value.replace(path, shown)
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
