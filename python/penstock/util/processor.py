"""The processor, as the kernel tells of it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# What /proc/cpuinfo calls the instruction sets that kernels are written for.
_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name, or the architecture where the kernel does not tell one."""
    found = re.search(r"^model name\s*:\s*(.*)$", _read(cpuinfo), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def instruction_sets(cpuinfo: Path = _CPUINFO) -> list[str]:
    """Those of the processor that kernels are written for, as the kernel names them."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", _read(cpuinfo), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    return [flag for flag in _FLAGS if flag in flags]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
