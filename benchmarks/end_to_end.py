"""A minute's check that everything works and streams: OPT-125M's shape, in RAM and from disk.

    python benchmarks/end_to_end.py

Prints a table and writes benchmarks/results/end-to-end.json. No root, no download.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import random_checkpoint
from results import Results

SHAPE = "opt-125m"
# name, model, further options; "FOLDER" stands for the checkpoint on disk (250 MB).
CASES = (
    ("fp16 in RAM", f"dummy:{SHAPE}", []),
    ("int8 in RAM", f"dummy:{SHAPE}", ["--weights", "int8"]),
    ("int4 in RAM", f"dummy:{SHAPE}", ["--weights", "int4"]),
    ("fp16 from disk in 192 MiB", "FOLDER", ["--host-memory", "192MiB"]),
    ("int4 from disk in 128 MiB", "FOLDER", ["--host-memory", "128MiB", "--weights", "int4"]),
)


def bench(model: str, options: list[str], rows: int) -> dict[str, Any]:
    """What ``penstock bench`` tells, or its refusal."""
    workload = ["--rows", str(rows), "--prompt-len", "32", "--new", "16"]
    command = [sys.executable, "-m", "penstock", "bench", model, *workload, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return {"exit_code": done.returncode, "error": done.stderr[-2000:]}
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def table_row(name: str, result: dict[str, Any]) -> str:
    if "error" in result:
        return f"| {name} | failed: {result['error'].strip().splitlines()[-1]} | | | |"
    stats = result["stats"]
    reads = stats["lanes"].get("disk_read", {"bytes": 0})["bytes"]
    peak, rss = stats["peak_bytes"].get("host", 0), result["peak_rss_bytes"]
    shown = [f"{result['tokens_per_second']:.1f}", *(f"{n / 1e6:.0f}" for n in (reads, peak, rss))]
    return f"| {name} | {' | '.join(shown)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32)
    arguments = parser.parse_args()
    measured = {}
    print("| case | tokens/s | read, MB | tracked peak, MB | peak RSS, MB |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / SHAPE
        for name, model, options in CASES:
            if model == "FOLDER":
                random_checkpoint.write_checkpoint(SHAPE, "float16", folder, tell=lambda _: None)
                model = str(folder)
            measured[name] = bench(model, options, arguments.rows)
            print(table_row(name, measured[name]), flush=True)
        result = {"machine": machine.facts(), "rows": arguments.rows, "cases": measured}
        Results(replaced={str(folder): "FOLDER"}).write("end-to-end", result)
    if any("error" in one for one in measured.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
