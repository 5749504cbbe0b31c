"""Helper processes of our own package, started without a shell and gone when we are.

They import from where this process imports, never from the current folder.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_RUN = (
    "import sys, runpy; sys.path[:] = sys.argv.pop(1).split('\\n'); "
    "runpy.run_module(sys.argv[1], run_name='__main__')"
)


def module_command(module: str) -> list[str]:
    """The command that runs a module of ours as a process."""
    return [sys.executable, "-c", _RUN, "\n".join(p for p in sys.path if p), module]


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent's thread ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def first_to_be_killed() -> None:
    """When the machine runs out of memory, let this process go and not the one that keeps files."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    except OSError:
        return
