"""Runs a command inside a memory cgroup (v1 or v2), page cache counted. Root only."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import disk

_MOUNT = Path("/sys/fs/cgroup")
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_EMPTY = 20


class MemoryGroup:
    """A cgroup of its own under the root group; removed by ``close``."""

    def __init__(self, limit_bytes: int) -> None:
        if os.geteuid() != 0:
            raise SystemExit("memory limits need root: cgroups and dropping the page cache")
        self._is_v1 = (_MOUNT / "memory" / "memory.limit_in_bytes").exists()
        self.folder = (_MOUNT / "memory" if self._is_v1 else _MOUNT) / f"benchmark-{os.getpid()}"
        if not self._is_v1:
            (_MOUNT / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        self.folder.mkdir()
        limit = str(limit_bytes)
        if self._is_v1:
            self._set("memory.limit_in_bytes", limit)
            self._set("memory.memsw.limit_in_bytes", limit, needed=False)
        else:
            self._set("memory.max", limit)
            self._set("memory.swap.max", "0", needed=False)

    def _set(self, name: str, value: str, needed: bool = True) -> None:
        try:
            (self.folder / name).write_text(value, encoding="ascii")
        except OSError:
            if needed:
                raise

    def _get(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="ascii")
        except OSError:
            return ""

    def processes(self) -> list[int]:
        return [int(pid) for pid in self._get("cgroup.procs").split()]

    def peak_bytes(self) -> int:
        """The most that was ever charged, page cache included."""
        return int(self._get("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak") or 0)

    def oom_kills(self) -> int:
        events = self._get("memory.oom_control" if self._is_v1 else "memory.events")
        found = re.search(r"^oom_kill (\d+)$", events, re.MULTILINE)
        return int(found[1]) if found else 0

    def anonymous_bytes(self) -> int:
        """Charged now to memory that is no file's."""
        name = "total_rss" if self._is_v1 else "anon"
        found = re.search(rf"^{name} (\d+)$", self._get("memory.stat"), re.MULTILINE)
        return int(found[1]) if found else 0

    def close(self) -> None:
        """Ends what still runs in the group and removes it."""
        deadline = time.monotonic() + _SECONDS_TO_EMPTY
        while True:
            for pid in self.processes():
                _kill(pid)
            try:
                self.folder.rmdir()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


@dataclass
class Outcome:
    """How a command went; bytes and seconds. Peaks of processes are their VmHWM."""

    exit_code: int = -1
    wall_seconds: float = 0.0
    limit_bytes: int = 0
    oom_kills: int = 0
    group_peak_bytes: int = 0
    anonymous_peak_bytes: int = 0
    process_peaks: dict[str, int] = field(default_factory=dict)
    device: dict[str, float] | None = None
    timed_out: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def largest_process_bytes(self) -> int:
        """The largest peak of one process."""
        return max(self.process_peaks.values(), default=0)


class _Watch(threading.Thread):
    """Looks at the group's processes now and then until stopped."""

    def __init__(self, group: MemoryGroup, outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._group, self._outcome = group, outcome
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        outcome = self._outcome
        for pid in self._group.processes():
            label, peak = _peak_of(pid)
            if label:
                key = f"{pid} {label}"
                outcome.process_peaks[key] = max(peak, outcome.process_peaks.get(key, 0))
        now = self._group.anonymous_bytes()
        outcome.anonymous_peak_bytes = max(outcome.anonymous_peak_bytes, now)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _peak_of(pid: int) -> tuple[str, int]:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        line = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return "", 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return line.replace("\0", " ")[:80].strip(), int(found[1]) * 1024 if found else 0


def run_limited(
    command: Sequence[str], limit_bytes: int, log: Path, data: Path, timeout: float = 7200
) -> Outcome:
    """Runs `command` under the limit from an empty page cache; its output goes to `log`.

    `data` is a path on the disk that is read. A command that runs over `timeout` seconds is killed.
    """
    group = MemoryGroup(limit_bytes)
    outcome = Outcome(limit_bytes=limit_bytes)
    watch = _Watch(group, outcome)
    try:
        disk.drop_page_cache()
        before = disk.counters(data)
        entering = 'echo $$ > "$0" && exec "$@"'
        whole = ["sh", "-c", entering, str(group.folder / "cgroup.procs"), *command]
        watch.start()
        begin = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(whole, stdout=output, stderr=subprocess.STDOUT)
            try:
                outcome.exit_code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                outcome.timed_out = True
            except BaseException:
                process.kill()
                raise
        outcome.wall_seconds = time.monotonic() - begin
        after = disk.counters(data)
        outcome.device = after.since(before) if before and after else None
        watch.stop()
        outcome.oom_kills, outcome.group_peak_bytes = group.oom_kills(), group.peak_bytes()
    finally:
        group.close()
    return outcome
