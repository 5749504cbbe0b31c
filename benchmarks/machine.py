"""What this machine is, and what it reaches at best: compute peaks, memory and disk reads.

    python benchmarks/machine.py --file SOME_LARGE_FILE

Other scripts call ``facts`` and ``peaks`` so that every result carries them, measured in its run.
"""

import argparse
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import disk
import programs
from results import Results

_FLAGS = re.compile(r"^(avx|fma|f16c|amx|bmi2|sse4)")
_PEAK_ROUNDS = 15
_PEAK_BUFFER_BYTES = 512 << 20


def _cpuinfo(field: str) -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(rf"^{field}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def facts() -> dict[str, Any]:
    """Processor, cores this process may use, memory (bytes), kernel and the load just now."""
    flags = sorted(flag for flag in _cpuinfo("flags").split() if _FLAGS.match(flag))
    return {
        "cpu": _cpuinfo("model name") or platform.machine(),
        "cpu_model": _cpuinfo("model"),
        "flags": flags,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def peaks(threads: int = 0) -> dict[str, Any]:
    """Operations and memory bytes per second of the cores; about five seconds."""
    chosen = threads or len(os.sched_getaffinity(0))
    return programs.run("peaks", chosen, _PEAK_ROUNDS, _PEAK_BUFFER_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, action="append", help="read it to probe the disk")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": facts(), "peaks": peaks()}
    if arguments.file:
        result["disk_read"] = disk.probe(arguments.file)
    Results().write("machine", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
