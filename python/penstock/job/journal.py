"""The sidecar of a job's output: which line's record stands where, with its checksum.

The output stays plain JSONL; OUTPUT.penstock-journal has a 32-byte header and then one entry of 32
bytes per record, appended after the record itself. Little-endian: line, offset, length, CRC32 of
the record, flags, CRC32 of the entry. A mark (line 0) says that the output up to `offset` was
synced to disk. The file's lock keeps a second process out.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import CorruptError, JobChangedError, StorageError
from penstock.util.outputfile import AppendFile

MAGIC = b"penstock journal 1\n".ljust(24, b"\0")
FLAG_ERROR = 1
_ENTRY = struct.Struct("<QQIII")
_CHECKED = struct.Struct("<QQIIII")
ENTRY_BYTES = _CHECKED.size
_READ_ENTRIES = 4096


@dataclass(frozen=True)
class Entry:
    """One record: line (from 1; 0: a mark), where it stands in the output, and its CRC32."""

    line: int
    offset: int
    length: int
    crc: int
    flags: int = 0

    @property
    def is_mark(self) -> bool:
        """Whether it says "synced up to offset" instead of naming a record."""
        return self.line == 0

    def encode(self) -> bytes:
        """The entry's 32 bytes."""
        body = _ENTRY.pack(self.line, self.offset, self.length, self.crc, self.flags)
        return body + zlib.crc32(body).to_bytes(4, "little")


def decode_entry(raw: bytes) -> Entry | None:
    """The entry of 32 bytes, or None when they are not a whole, unchanged one."""
    if len(raw) != ENTRY_BYTES:
        return None
    *fields, crc = _CHECKED.unpack(raw)
    return Entry(*fields) if crc == zlib.crc32(raw[: _ENTRY.size]) else None


def journal_path(output: Path) -> Path:
    """Where the journal of an output is."""
    return output.with_name(output.name + ".penstock-journal")


class Journal:
    """The journal file, locked for this process."""

    def __init__(self, path: Path) -> None:
        """Opens or creates it; raises StorageError when another process has it."""
        self._file = AppendFile(path)
        self.path = path
        try:
            fcntl.flock(self._file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            message = f"{path}: another process is running this job"
            raise StorageError(message, code="locked", file=str(path)) from None
        self._file.size = os.fstat(self._file.descriptor).st_size

    @property
    def is_new(self) -> bool:
        """Whether its beginning was never written completely."""
        return self._file.size < len(MAGIC) + 8

    def begin(self, job: bytes) -> None:
        """Starts an empty journal for the job named by 8 bytes."""
        self._file.cut(0)
        self._file.append(MAGIC + job)
        self._file.sync()

    def check(self, job: bytes) -> None:
        """Raises unless the journal belongs to the job."""
        head = self._file.read(0, len(MAGIC) + 8)
        if head[: len(MAGIC)] != MAGIC:
            raise CorruptError(f"{self.path}: not a journal of Penstock", file=str(self.path))
        if head[len(MAGIC) :] != job:
            message = f"{self.path}: belongs to another job than the manifest"
            raise JobChangedError(message, file=str(self.path))

    def entries(self) -> Iterator[tuple[int, Entry | None]]:
        """Each entry with its place in the file; None for one that is torn or changed."""
        at = len(MAGIC) + 8
        while raw := self._file.read(at, _READ_ENTRIES * ENTRY_BYTES):
            for begin in range(0, len(raw), ENTRY_BYTES):
                yield at + begin, decode_entry(raw[begin : begin + ENTRY_BYTES])
            at += len(raw)

    def append(self, entries: list[Entry]) -> None:
        """Adds entries with one write."""
        self._file.append(b"".join(entry.encode() for entry in entries))

    def sync(self) -> None:
        """Makes the entries durable."""
        self._file.sync()

    def cut(self, size: int) -> None:
        """Drops everything from byte `size` on."""
        self._file.cut(size)

    def discard(self) -> None:
        """Removes the file."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unlocks and closes it."""
        self._file.close()
