"""Finds out, after any death of a job, which lines have their record.

Journal and output are compared byte for byte. What was never synced and is torn is cut off, and its
rows are done again; a record that is whole but whose entry was lost is entered again. A change in a
part that had been synced is no accident of ours and is refused.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from penstock.errors import CorruptError, PenstockError
from penstock.job.journal import FLAG_ERROR, Entry, Journal
from penstock.job.rows import MAX_LINE_BYTES, id_key
from penstock.job.scan import BLANK, DONE, DUPLICATE, FAILED, InputScan, hash_id
from penstock.util.outputfile import AppendFile
from penstock.util.strictjson import loads

_MAX_RECORD_BYTES = 4 * MAX_LINE_BYTES


@dataclass
class Recovery:
    """What was found: records kept, bytes of the output cut off, entries written anew."""

    kept: int = 0
    cut_bytes: int = 0
    reentered: int = 0


def recover(scan: InputScan, output: AppendFile, journal: Journal) -> Recovery:
    """Brings output and journal to agree and marks the finished lines in ``scan.states``."""
    found = Recovery()
    end = _replay(scan, output, journal, found)
    _take_unentered(scan, output, journal, end, found)
    return found


def _replay(scan: InputScan, output: AppendFile, journal: Journal, found: Recovery) -> int:
    """Takes the entries in order; the end of the last good record."""
    synced = _synced_bytes(journal)
    end, journal_end = 0, None
    for at, entry in journal.entries():
        if entry is not None and entry.is_mark:
            continue
        if entry is None or not _is_good(scan, output, entry, end):
            journal_end = at
            break
        _mark(scan, entry.line, bool(entry.flags & FLAG_ERROR))
        end = entry.offset + entry.length
        found.kept += 1
    if end < synced:
        message = f"{output.path}: changed at byte {end} since it was written"
        hint = "restore it, or start anew with --overwrite"
        raise CorruptError(f"{message}; {hint}", file=str(output.path), found=end)
    if journal_end is not None:
        journal.cut(journal_end)
    return end


def _synced_bytes(journal: Journal) -> int:
    marks = (entry for _, entry in journal.entries() if entry is not None and entry.is_mark)
    return max((mark.offset for mark in marks), default=0)


def _is_good(scan: InputScan, output: AppendFile, entry: Entry, end: int) -> bool:
    in_range = entry.line <= len(scan.states) and 0 < entry.length <= output.size
    if not in_range or entry.offset != end or _is_taken(scan, entry.line):
        return False
    record = output.read(entry.offset, entry.length)
    return len(record) == entry.length and zlib.crc32(record) == entry.crc


def _is_taken(scan: InputScan, line: int) -> bool:
    return scan.states[line - 1] & ~DUPLICATE in (DONE, FAILED, BLANK)


def _mark(scan: InputScan, line: int, is_error: bool) -> None:
    scan.states[line - 1] = scan.states[line - 1] & DUPLICATE | (FAILED if is_error else DONE)


def _take_unentered(
    scan: InputScan, output: AppendFile, journal: Journal, end: int, found: Recovery
) -> None:
    """Enters whole records behind the last entry; cuts the output at the first that is not."""
    while record := _read_record(output, end):
        line, is_error = _identify(scan, record)
        if line == 0 or _is_taken(scan, line):
            break
        flags = FLAG_ERROR if is_error else 0
        journal.append([Entry(line, end, len(record), zlib.crc32(record), flags)])
        _mark(scan, line, is_error)
        end += len(record)
        found.kept, found.reentered = found.kept + 1, found.reentered + 1
    found.cut_bytes = output.size - end
    if found.cut_bytes:
        output.cut(end)


def _read_record(output: AppendFile, offset: int) -> bytes:
    """The line at `offset` with its newline, or b"" when there is no whole one."""
    length = 64 << 10
    while True:
        raw = output.read(offset, length)
        newline = raw.find(b"\n")
        if newline >= 0:
            return raw[: newline + 1]
        if len(raw) < length or length >= _MAX_RECORD_BYTES:
            return b""
        length *= 8


def _identify(scan: InputScan, record: bytes) -> tuple[int, bool]:
    """Line of the input a record answers (0: none) and whether it is an error."""
    try:
        parsed = loads(record, "record")
    except PenstockError:
        return 0, False
    if not isinstance(parsed, dict):
        return 0, False
    error = parsed.get("error")
    if isinstance(error, dict):
        line = error.get("line")
        is_line = isinstance(line, int) and 0 < line <= len(scan.states)
        return (int(line or 0), True) if is_line else (0, False)
    if "usage" in parsed or "response" in parsed:
        row_id = parsed.get("custom_id", parsed.get("id"))
        if isinstance(row_id, str | int):
            return _line_of(scan, row_id), False
    return 0, False


def _line_of(scan: InputScan, row_id: str | int) -> int:
    try:
        return scan.hashes.index(hash_id(id_key(row_id))) + 1
    except ValueError:
        return 0
