"""A file that is appended to and can be cut back; every failed write leaves it as it was."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from penstock.errors import (
    DiskFullError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    StorageError,
)


def storage_error(path: Path, what: str, error: OSError) -> PenstockError:
    """An operating system error as one of ours; a full disk has its own."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    kind = DiskFullError if is_full else StorageError
    return kind(f"{path}: {what}: {error.strerror}", file=str(path))


class AppendFile:
    """Owns one descriptor. ``size`` is the length of what was appended completely."""

    def __init__(self, path: Path) -> None:
        """Opens `path`, creating it; raises StorageError."""
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self.descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise storage_error(path, "cannot be opened for writing", error) from None
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise InvalidArgumentError(f"{path}: not a regular file", file=str(path))
        self.size = status.st_size

    def append(self, data: bytes) -> None:
        """Writes all of `data` at the end; on failure the file is cut back and an error raised."""
        view, at = memoryview(data), self.size
        try:
            while view:
                count = os.pwrite(self.descriptor, view, at)
                view, at = view[count:], at + count
        except OSError as error:
            self.cut(self.size)
            raise storage_error(self.path, "writing failed", error) from None
        self.size = at

    def cut(self, size: int) -> None:
        """Makes the file `size` bytes long."""
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise storage_error(self.path, "cutting back failed", error) from None
        self.size = size

    def sync(self) -> None:
        """Makes everything appended durable. A failure is final: it is never tried again."""
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            raise storage_error(self.path, "fsync failed", error) from None

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer only at the end of the file."""
        pieces = []
        try:
            while length > 0 and (piece := os.pread(self.descriptor, length, offset)):
                pieces.append(piece)
                offset, length = offset + len(piece), length - len(piece)
        except OSError as error:
            raise storage_error(self.path, "reading failed", error) from None
        return b"".join(pieces)

    def close(self) -> None:
        """Gives the descriptor back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


_NAME_BYTES = 255 - len(".tmp")


def refuse_unwritable(path: Path, field: str, more: int = 0) -> None:
    """Refuses, before any work is done, a file that could not be written at its end.

    `more` bytes are added to the name for files beside it.
    """
    folder, name = path.parent, path.name
    if not folder.is_dir():
        raise NotFoundError(f"{field}: {folder}: no such folder", file=str(folder), field=field)
    if not os.access(folder, os.W_OK):
        message = f"{field}: the folder {folder} is not writable"
        raise InvalidArgumentError(message, file=str(folder), field=field)
    if len(os.fsencode(name)) + more > _NAME_BYTES:
        message = f"{field}: the file name is longer than {_NAME_BYTES - more} bytes"
        raise InvalidArgumentError(message, file=name[:80], field=field)
    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"{field}: {path}: not a regular file", file=str(path))


def sync_folder(folder: Path) -> None:
    """Makes names created in, or renamed into, a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file by `data`, durably: it is never seen half written."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(path, "writing failed", error) from None
