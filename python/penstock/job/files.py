"""The files of one job: output, journal and manifest, opened, compared and recovered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.errors import JobChangedError
from penstock.job.journal import Journal, journal_path
from penstock.job.manifest import (
    job_digest,
    manifest_path,
    read_manifest,
    refuse_changes,
    write_manifest,
)
from penstock.job.options import JobOptions
from penstock.job.recovery import Recovery, recover
from penstock.job.scan import InputScan
from penstock.job.writer import RecordWriter
from penstock.util.outputfile import AppendFile, refuse_unwritable, sync_folder


class JobFiles:
    """Owns the descriptors. A new job's manifest is written by ``begin``, before its first row."""

    def __init__(self, output: Path, journal: Journal, identity: dict[str, Any]) -> None:
        self._path, self._journal, self._identity = output, journal, identity
        self._output: AppendFile | None = None
        self._manifest: dict[str, Any] | None = None
        self.recovery = Recovery()

    @staticmethod
    def refuse_before_reading(options: JobOptions) -> None:
        """What can be refused before the input is read."""
        output = options.output
        refuse_unwritable(output, "output", len(manifest_path(output).name) - len(output.name))
        if options.trace:
            refuse_unwritable(Path(options.trace), "trace")
        has_manifest = manifest_path(output).exists()
        if output.exists() and not has_manifest and not options.overwrite:
            message = f"{output}: exists and is not the output of a job begun here"
            hint = "choose another, or use --overwrite"
            raise JobChangedError(f"{message}; {hint}", file=str(output), field="output")

    @classmethod
    def open(cls, options: JobOptions, scan: InputScan, identity: dict[str, Any]) -> JobFiles:
        """Locks the job, compares its manifest and recovers what was done."""
        journal = Journal(journal_path(options.output))
        files = cls(options.output, journal, identity)
        try:
            if not options.overwrite:
                files._resume(scan)
        except BaseException:
            files.close()
            raise
        return files

    def begin(self, engine: dict[str, Any]) -> RecordWriter:
        """Compares the engine with the manifest's, or writes the manifest of a new job."""
        if self._manifest is not None:
            before = {"engine": self._manifest.get("engine", {})}
            refuse_changes(before, {"engine": engine}, self._path)
        else:
            self._write_manifest({**self._identity, "engine": engine})
        assert self._output is not None
        return RecordWriter(self._output, self._journal)

    def finish_empty(self) -> None:
        """A job without rows: its output exists and is empty."""
        if self._manifest is None:
            self._write_manifest({**self._identity, "engine": {}})

    def close(self) -> None:
        """Gives everything back; nothing is left behind of a job that never began."""
        if self._manifest is None and self._journal.is_new:
            self._journal.discard()
        if self._output is not None:
            self._output.close()
        self._journal.close()

    def __enter__(self) -> JobFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        """Makes room for a new job; only ``--overwrite`` finds something here."""
        manifest_path(self._path).unlink(missing_ok=True)
        self._journal.cut(0)
        self._path.unlink(missing_ok=True)

    def _resume(self, scan: InputScan) -> None:
        path = manifest_path(self._path)
        if not path.exists():
            if not self._journal.is_new:
                message = f"{self._journal.path}: a journal without its manifest {path.name}"
                hint = "remove both, or start anew with --overwrite"
                raise JobChangedError(f"{message}; {hint}", file=str(path))
            return
        manifest = read_manifest(path)
        refuse_changes(_without_engine(manifest), self._identity, self._path)
        if self._journal.is_new:
            self._journal.begin(job_digest(manifest))
        self._journal.check(job_digest(manifest))
        self._output = AppendFile(self._path)
        self._manifest = manifest
        self.recovery = recover(scan, self._output, self._journal)

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        self._forget()
        write_manifest(manifest_path(self._path), manifest)
        self._manifest = manifest
        self._journal.begin(job_digest(manifest))
        self._output = AppendFile(self._path)
        sync_folder(self._path.parent)


def _without_engine(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "engine"}
