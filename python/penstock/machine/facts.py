"""What a machine is, as the operating system tells it."""

from __future__ import annotations

import os
import platform
from typing import Any

from penstock.util.processor import processor_name


def machine_facts() -> dict[str, Any]:
    """Processor, cores this process may use, and memory in bytes."""
    return {
        "cpu": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }
