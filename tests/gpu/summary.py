"""One table of what the stages of run_all.sh left in a folder, finished or not; also as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

Row = tuple[str, str, str]  # stage, what, outcome

_GTEST = re.compile(r"^\[ +(OK|FAILED) +\] \S+ \(", re.MULTILINE)
_PYTEST = re.compile(r" (PASSED|FAILED|ERROR)\b")
_SANITIZED = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (.*)$", re.MULTILINE)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stages(folder: Path) -> list[Row]:
    stages = [json.loads(line) for line in _text(folder / "stages.jsonl").splitlines()]
    return [(one["stage"], "whole stage", f"{one['status']}, {one['seconds']} s") for one in stages]


def ended(log: Path) -> str:
    """How a program of a stage ended; without a word, it was cut off."""
    status = _text(log.with_name(log.name + ".status")).strip()
    return {"": "cut off", "0": ""}.get(status, f"exit status {status}")


def tests(folder: Path) -> list[Row]:
    """Passed and failed tests of each program, its parts together."""
    counted: dict[str, list[int]] = {}
    endings: dict[str, set[str]] = {}
    for log in sorted((folder / "test").glob("*.log")):
        name, text = re.sub(r"-\d+$", "", log.stem), _text(log)
        found = _GTEST.findall(text) or _PYTEST.findall(text)
        passed = sum(word in ("OK", "PASSED") for word in found)
        counts = counted.setdefault(name, [0, 0])
        counts[0] += passed
        counts[1] += len(found) - passed
        endings.setdefault(name, set()).add(ended(log))
    rows = []
    for name, (passed, failed) in counted.items():
        more = ", ".join(sorted(endings[name] - {""}))
        rows.append(("test", name, f"{passed} passed, {failed} failed" + f" ({more})" * bool(more)))
    return rows


def sanitized(folder: Path) -> list[Row]:
    rows = []
    for log in sorted((folder / "sanitize").glob("*.log")):
        text = _text(log)
        said = _SANITIZED.findall(text)
        passed = len(_GTEST.findall(text))
        outcome = said[-1] if said else "no summary"
        more = ended(log)
        rows.append(
            ("sanitize", log.stem, f"{outcome}; {passed} tests" + f" ({more})" * bool(more))
        )
    return rows


def _share(value: float | None, of: str) -> str:
    return f", {value:.2f} {of}" if value is not None else ""


def kernels(folder: Path) -> list[Row]:
    found = _json(folder / "results" / "gpu-kernels.json")
    rows = []
    for line in found.get("measured", {}).get("copies", []):
        for key in ("copy", "h2d", "d2h"):
            rate = line.get(f"{key}_bytes_per_second")
            if rate:
                rows.append(("kernels", f"{key} rate", f"{rate / 1e9:.1f} GB/s"))
    figures = found.get("figures", {})
    for one in figures.get("products", []):
        if one["m"] not in (1, 16, 128, 256, 1024):
            continue
        text = f"{one['seconds'] * 1e6:.1f} us" + _share(one["of_copy"], "of copy")
        text += _share(one["of_cublas_fp16"], "of cuBLAS fp16")
        rows.append(("kernels", f"{one['format']} {one['n']} x {one['m']} rows", text))
    for one in figures.get("attention", []):
        text = f"{one['seconds'] * 1e6:.1f} us" + _share(one["of_copy"], "of copy")
        text += _share(one["of_bf16"], "of bf16's keys a second")
        heads = f"{one['heads']}/{one['kv_heads']}"
        rows.append(("kernels", f"attention {one['format']} {heads}, {one['keys']} keys", text))
    return rows


def offload(folder: Path) -> list[Row]:
    rows = []
    for name, run in _json(folder / "results" / "gpu-offload.json").get("runs", {}).items():
        if "failed" in run:
            rows.append(("offload", name, "cut off" if run["exit_code"] == 124 else "failed"))
            continue
        found = run.get("figures", run)
        text = f"{found['tokens_per_second']:.2f} tokens/s"
        text += _share(found.get("over_busiest"), "of the busiest lane")
        text += _share(found.get("h2d_of_pinned"), "of pinned copies")
        text += _share(found.get("measured_over_predicted"), "of predicted")
        rows.append(("offload", name, text))
    return rows


def printed(rows: list[Row]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    print(f"\n| {'stage':{widths[0]}} | {'what':{widths[1]}} | outcome |")
    print(f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 2)}|---|")
    for stage, what, outcome in rows:
        print(f"| {stage:{widths[0]}} | {what:{widths[1]}} | {outcome} |")


def main() -> None:
    folder = Path(sys.argv[1])
    rows = stages(folder)
    for part in (tests, sanitized, kernels, offload):
        rows += part(folder)
    if not rows:
        sys.exit(f"{folder} holds nothing yet")
    printed(rows)
    keys = ("stage", "what", "outcome")
    records = [dict(zip(keys, row, strict=True)) for row in rows]
    (folder / "summary.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
