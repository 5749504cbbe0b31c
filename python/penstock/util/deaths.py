"""How a process of ours ended, in words."""

from __future__ import annotations

import signal

from penstock.util.processor import instruction_sets, processor_name


def how_it_ended(code: int, kernels: str = "") -> str:
    """The words for an exit code as :mod:`subprocess` tells it: a signal is negative.

    `kernels` is the instruction set that the engine had chosen, when it is known.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    said = f"was killed by {signal_name(code)}"
    if code == -signal.SIGKILL:
        said += " (often the kernel's out-of-memory killer: try a smaller --host-memory)"
    if code == -signal.SIGILL:
        has = ", ".join(instruction_sets()) or "none of the faster instruction sets"
        chosen = f"; kernels for {kernels} were chosen" if kernels else ""
        said += (
            ": this processor lacks an instruction of this build"
            f" ({processor_name()} has {has}{chosen}); `penstock doctor` says more"
        )
    return said


def signal_name(code: int) -> str:
    """The name of the signal behind a negative exit code; the number where it has none."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
