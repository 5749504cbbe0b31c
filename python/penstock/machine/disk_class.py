"""What kind of disk a folder is on, and how fast it is read: a look of about a second."""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_MEASURED_BYTES = 64 << 20
_READ_BYTES = 4 << 20
_SECONDS = 1.0
_READERS = 4  # at a time
_PAGE = 4096
_MEMORY = frozenset(("tmpfs", "ramfs"))
_NETWORK = frozenset("nfs nfs4 cifs smb3 9p ceph lustre glusterfs fuse.sshfs afs".split())
_NO_DISK = frozenset("proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs".split())
# Bytes per second from which a disk counts as of that class; below all of them it is "slow".
_CLASSES = (("fast", 2e9), ("medium", 5e8))


def disk_facts(folder: Path) -> dict[str, Any]:
    """File system, free bytes, read rate and class of the disk that `folder` is on.

    The class is "memory" or "network" by the file system, else by the rate: "fast" (2 GB/s and
    more), "medium" (0.5 GB/s and more) or "slow"; "" where nothing could be measured, and then
    `missing` says why.
    """
    path = folder.absolute()
    facts: dict[str, Any] = {"folder": str(path), "filesystem": "", "free_bytes": 0}
    facts.update({"read_bytes_per_second": 0.0, "class": "", "missing": ""})
    if not path.is_dir():
        return {**facts, "missing": "no such folder"}
    facts["filesystem"] = filesystem_of(path)
    if facts["filesystem"] in _NO_DISK:
        return {**facts, "missing": f"{facts['filesystem']} is no disk"}
    space = os.statvfs(path)
    facts["free_bytes"] = space.f_bavail * space.f_frsize
    if facts["filesystem"] in _MEMORY:
        return {**facts, "class": "memory"}
    try:
        facts["read_bytes_per_second"] = read_rate(path)
    except OSError as error:
        return {**facts, "missing": f"cannot be measured: {os.strerror(error.errno or 0)}"}
    return {**facts, "class": _class_of(facts)}


def _class_of(facts: dict[str, Any]) -> str:
    if facts["filesystem"] in _NETWORK:
        return "network"
    rate = facts["read_bytes_per_second"]
    return next((name for name, least in _CLASSES if rate >= least), "slow")


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds a folder; "" where the kernel does not tell."""
    return mount_of(path, mounts)[1]


def mount_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> tuple[str, str]:
    """What is mounted where a folder is, and its type; "" where the kernel does not tell."""
    place, longest = str(path.resolve()), -1
    found = ("", "")
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape", "replace")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            found, longest = (fields[0], fields[2]), len(point)
    return found


def read_rate(folder: Path) -> float:
    """Bytes per second of reading a file that was just written there, past the page cache.

    The file has no name and is gone afterwards. Raises OSError where it cannot be written.
    """
    data = os.urandom(_READ_BYTES)
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_MEASURED_BYTES // _READ_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        reader = _open_direct(file.fileno())
        try:
            os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
            return _timed(reader)
        finally:
            os.close(reader)


def _timed(reader: int) -> float:
    """Several reads at a time, as an engine has them; bytes per second."""
    begun = time.monotonic()
    with ThreadPoolExecutor(_READERS) as pool:
        read = sum(pool.map(_read_for_a_while, [reader] * _READERS, range(_READERS)))
    return read / (time.monotonic() - begun)


def _read_for_a_while(reader: int, first: int) -> int:
    begun, read = time.monotonic(), 0
    buffer = _aligned(_READ_BYTES)
    while time.monotonic() - begun < _SECONDS or read == 0:
        place = (first + read // _READ_BYTES * _READERS) * _READ_BYTES % _MEASURED_BYTES
        got = os.preadv(reader, [buffer], place)
        if got < _READ_BYTES:
            raise OSError(errno.EIO, "a file ended early")
        read += got
    return read


def _aligned(count: int) -> memoryview:
    """Memory that begins at a page, as reading without the page cache needs it."""
    whole = bytearray(count + _PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(whole))
    start = -address % _PAGE
    return memoryview(whole)[start : start + count]


def _open_direct(file: int) -> int:
    """The same file, read without the page cache where the file system allows that."""
    path = f"/proc/self/fd/{file}"
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return os.open(path, os.O_RDONLY)
