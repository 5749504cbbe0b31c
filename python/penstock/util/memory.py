"""How much memory this process holds, as the kernel counts it (bytes; Linux)."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path


def _status(field: str) -> int:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    match = re.search(rf"^{field}:\s*([0-9]+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def give_back_free_memory() -> None:
    """Hands the C library's free pages to the kernel (glibc; elsewhere nothing happens)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def private_bytes() -> int:
    """Resident and this process's own (RssAnon): without the pages of programs and libraries."""
    return _status("RssAnon")


def peak_resident_bytes() -> int:
    """The most that was ever resident (VmHWM)."""
    return _status("VmHWM")
