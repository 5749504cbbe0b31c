"""How much memory this process holds, as the kernel counts it (bytes; Linux)."""

from __future__ import annotations

import re
from pathlib import Path


def _status(field: str) -> int:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    match = re.search(rf"^{field}:\s*([0-9]+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def resident_bytes() -> int:
    """Resident now (VmRSS)."""
    return _status("VmRSS")


def peak_resident_bytes() -> int:
    """The most that was ever resident (VmHWM)."""
    return _status("VmHWM")
