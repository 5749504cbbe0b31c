"""A machine's rates, corrected by what runs on it took: predicted and measured seconds per lane."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError
from penstock.machine.shipped import shipped_machine
from penstock.util.outputfile import write_atomically

# Rates of the machine by the lane whose seconds they decide.
_RATES = {
    "disk_read": ("disk_read_bytes_per_second",),
    "disk_write": ("disk_write_bytes_per_second",),
    "h2d": ("h2d_bytes_per_second",),
    "d2h": ("d2h_bytes_per_second",),
    "compute": (
        *("gemm_flops_per_second", "attention_bytes_per_second", "attention_flops_per_second"),
        *("gemm", "attention"),
    ),
    "host_compute": ("host_attention_bytes_per_second", "host_attention"),
}
_LEAST_SHARE = 0.05  # of the wall time, for a lane to tell anything
_MOST = 8.0
_TOKENS = ("prompt_tokens", "generated_tokens")
_LISTED = ("flops_per_second", "bytes_per_second")


def recalibrated(machine: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """The machine with which `report`'s prediction would have been right, lane by lane.

    Where the run did another share of the work than predicted (it was stopped, rows ended early),
    bytes or else tokens tell that share. A lane that was busy for less than a twentieth of the run
    changes nothing; a factor is at most 8 either way. Rates that the machine does not name are left
    to their built-in figures.
    """
    found = copy.deepcopy(dict(machine))
    predicted, stats = report["prediction"]["lanes"], report["stats"]
    for lane, rates in _RATES.items():
        planned = predicted.get(lane, {}).get("seconds", 0.0) * _work_done(lane, report)
        busy = stats["lanes"].get(lane, {}).get("busy_seconds", 0.0)
        if planned <= 0 or busy < _LEAST_SHARE * stats["seconds"]:
            continue
        factor = min(_MOST, max(1 / _MOST, planned / busy))
        for name in rates:
            if name in found:
                found[name] = scaled(found[name], factor)
    return found


def _work_done(lane: str, report: Mapping[str, Any]) -> float:
    """What a lane did, as a share of what was predicted of it; 1 where nothing tells."""
    prediction, stats = report["prediction"], report["stats"]
    planned = prediction["lanes"].get(lane, {}).get("bytes", 0)
    done = stats["lanes"].get(lane, {}).get("bytes", 0)
    if lane == "compute" or not planned or not done:
        planned, done = (sum(of.get(name, 0) for name in _TOKENS) for of in (prediction, stats))
    return done / planned if planned and done else 1.0


def scaled(rates: Any, factor: float, prefix: str = "") -> Any:
    """A rate, or the entries of a list of rates whose format begins so, times `factor`."""
    if not isinstance(rates, list):
        return rates * factor
    changed = []
    for entry in rates:
        each = dict(entry)
        if str(each.get("format", each.get("kv", ""))).startswith(prefix):
            for name in _LISTED:
                if name in each:
                    each[name] *= factor
        changed.append(each)
    return changed


def products_scaled(machine: Mapping[str, Any], factors: Mapping[str, float]) -> dict[str, Any]:
    """The machine with its products scaled by format; formats begin with the keys of `factors`."""
    found = copy.deepcopy(dict(machine))
    for prefix, factor in factors.items():
        found["gemm"] = scaled(found["gemm"], factor, prefix)
    found["gemm_flops_per_second"] *= min(factors.values(), default=1.0)
    return found


def file_to_correct(machine: str, kept: Path) -> Path:
    """The file behind the option ``machine``: a path, or "auto" for `kept`.

    Raises InvalidArgumentError where there is none: JSON text, a shipped machine, no probe yet.
    """
    name = machine.strip()
    path = kept if name in ("", "auto") else Path(name)
    if name.startswith("{") or shipped_machine(name) or not path.is_file():
        allowed = "a machine file: run penstock probe first, or give one with --machine"
        message = f"recalibrate: no machine file to correct; allowed: {allowed}"
        raise InvalidArgumentError(message, field="recalibrate", allowed=allowed)
    return path


def correct_file(path: Path, report: Mapping[str, Any]) -> None:
    """Rewrites a machine file by a report; says so in ``about``."""
    machine = recalibrated(json.loads(path.read_text(encoding="utf-8")), report)
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    about = str(machine.get("about", "")).split("; corrected")[0]
    machine["about"] = f"{about}; corrected by a run of {date}"
    write_atomically(path, json.dumps(machine, indent=1).encode() + b"\n")
