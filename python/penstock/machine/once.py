"""The quick probe of a machine that has no figures yet: made once, and kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from penstock.errors import EngineDiedError, PenstockError
from penstock.machine.place import Place
from penstock.machine.probe import Probe, measure_machine
from penstock.util.childprocess import die_with_parent, first_to_be_killed, module_command
from penstock.util.deaths import how_it_ended
from penstock.util.outputfile import write_atomically

_ABOUT = "measuring this machine and its disk once, about 10 s (--no-probe: without)"
_MOST_SECONDS = 120.0  # a slow disk, or a busy machine
_SECONDS_TO_LOOK = 0.1
_NEEDED_BYTES = 1 << 30
_FREE_BYTES = 1 << 28
# Figures that could not be kept serve this process.
_unkept: dict[str, str] = {}


def kept_figures(place: Place) -> str:
    """The figures that are kept of a place, as JSON text; "" where there are none."""
    try:
        text = place.file.read_text(encoding="utf-8")
        return text if isinstance(json.loads(text), dict) else ""
    except (OSError, ValueError):
        return _unkept.get(place.key, "")


def figures(place: Place, tell: Callable[[str], None]) -> str:
    """The figures of a place as JSON text: those that are kept, else those of a quick probe.

    `tell` hears of the probe before it begins. Of processes that begin at a time one measures and
    the others wait for it. Raises PenstockError where this machine cannot be measured.
    """
    kept = kept_figures(place)
    if kept:
        return kept
    tell(_ABOUT)
    with _alone(place.file.with_suffix(".lock")):
        kept = kept_figures(place)
        if kept:
            return kept
        text = _measured(place, tell)
        _keep(place, text, tell)
    return text


def _keep(place: Place, text: str, tell: Callable[[str], None]) -> None:
    try:
        place.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place.file, text.encode())
    except (OSError, PenstockError) as error:
        _unkept[place.key] = text
        tell(f"warning: the figures of this machine are not kept: {error}")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While inside, no other process is; where no file can say so, or it takes long, one may be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + _MOST_SECONDS
        while not _locked(descriptor) and time.monotonic() < until:
            time.sleep(_SECONDS_TO_LOOK)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _measured(place: Place, tell: Callable[[str], None]) -> str:
    """What the process below prints; it is gone when this ends, however that happens."""
    disk = _writable_folder(place.existing_folder)
    if not disk:
        tell(f"warning: {place.existing_folder} takes no files: its disk is not measured")
    asked = json.dumps({"device": place.device, "threads": place.threads, "disk": disk})
    command = [*module_command("penstock.machine.once"), asked]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EngineDiedError(f"the probe took over {_MOST_SECONDS:g} s") from None
    if done.returncode == 0:
        return done.stdout.decode()
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise EngineDiedError(said[-1] if said else f"the probe {how_it_ended(done.returncode)}")


def _writable_folder(folder: Path) -> str:
    """The folder, or the nearest above it on its disk that takes files; "" where none does."""
    device = folder.stat().st_dev
    for each in (folder, *folder.parents):
        if each.stat().st_dev != device:
            break
        if os.access(each, os.W_OK) and _free_bytes(each) >= _FREE_BYTES:
            return str(each)
    return ""


def _free_bytes(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def _measure(asked: str) -> int:
    """The process that measures."""
    die_with_parent()
    first_to_be_killed()
    from penstock import _core

    try:
        free = json.loads(_core.describe_system())["host_memory"]["available"]
        if free < _NEEDED_BYTES:
            print(f"the probe needs {_NEEDED_BYTES >> 20} MiB of free memory", file=sys.stderr)
            return 1
        probe = Probe(**json.loads(asked), quick=True)
        print(json.dumps(measure_machine(probe, lambda _: None), indent=1))
    except (PenstockError, MemoryError, KeyboardInterrupt) as error:
        print(str(error) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_measure(sys.argv[-1]))
