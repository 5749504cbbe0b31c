"""What a machine is, as the operating system tells it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def machine_facts() -> dict[str, Any]:
    """Processor, cores this process may use, and memory in bytes."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }
