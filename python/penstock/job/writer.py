"""Writes a job's records: output first, then its journal, durable in groups."""

from __future__ import annotations

import time
import zlib

from penstock.job.journal import FLAG_ERROR, Entry, Journal
from penstock.util.outputfile import AppendFile

SECONDS_BETWEEN_SYNCS, ROWS_BETWEEN_SYNCS = 1.0, 256


class RecordWriter:
    """Takes records as rows finish. ``flush`` hands a batch to the kernel with one write a file;
    ``sync_if_due`` makes batches durable."""

    def __init__(self, output: AppendFile, journal: Journal) -> None:
        self._output, self._journal = output, journal
        self._batch: list[tuple[int, bytes, int]] = []
        self._unsynced, self._synced_at = 0, time.monotonic()

    def add(self, line: int, record: bytes, is_error: bool) -> None:
        """Takes the record of a line; written by the next ``flush``."""
        self._batch.append((line, record, FLAG_ERROR if is_error else 0))

    def flush(self) -> None:
        """Writes what was added. Raises StorageError; the files agree then all the same."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        entries, at = [], self._output.size
        for line, record, flags in batch:
            entries.append(Entry(line, at, len(record), zlib.crc32(record), flags))
            at += len(record)
        self._output.append(b"".join(record for _, record, _ in batch))
        self._journal.append(entries)
        self._unsynced += len(batch)

    def sync_if_due(self) -> None:
        """Syncs when enough rows or enough time have passed."""
        waited = time.monotonic() - self._synced_at
        if self._unsynced >= ROWS_BETWEEN_SYNCS or (
            self._unsynced and waited >= SECONDS_BETWEEN_SYNCS
        ):
            self.sync()

    def sync(self) -> None:
        """Makes every record written so far durable, and marks in the journal that it is."""
        self.flush()
        if self._unsynced == 0:
            return
        self._output.sync()
        self._journal.append([Entry(0, self._output.size, 0, 0)])
        self._journal.sync()
        self._unsynced, self._synced_at = 0, time.monotonic()
