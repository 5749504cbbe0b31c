"""What a run cost, as a JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.job.progress import ProgressState
from penstock.util.memory import peak_resident_bytes
from penstock.util.outputfile import write_atomically


def make_report(
    state: ProgressState, describe: dict[str, Any], engine_peak_rss: int, exit_code: int
) -> dict[str, Any]:
    """The report of a run. Bytes and seconds; rates are per second of this run."""
    seconds = state.seconds
    return {
        "rows": {
            "total": state.rows,
            "done": state.rows_done,
            "errors": state.rows_failed,
            "done_before": state.rows_before,
        },
        "seconds": seconds,
        "generated_tokens": state.tokens,
        "prompt_tokens": int(state.stats.get("prompt_tokens", 0)),
        "shared_tokens": int(state.stats.get("shared_tokens", 0)),
        "tokens_per_second": state.tokens / seconds,
        "engine": describe,
        "stats": state.stats,
        "peak_rss_bytes": {"engine": engine_peak_rss, "parent": peak_resident_bytes()},
        "exit_code": exit_code,
    }


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Writes it as JSON, atomically."""
    write_atomically(path, json.dumps(report, indent=1).encode() + b"\n")
