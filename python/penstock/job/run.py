"""``penstock run``: a file of rows in, a file of records out, through any death.

The parent (here) owns files, journal and progress; tokenizer and engine live in a child process.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from penstock.engine.process import EngineProcess
from penstock.errors import InvalidArgumentError, JobChangedError, PenstockError
from penstock.job.files import JobFiles
from penstock.job.manifest import describe_engine, describe_job
from penstock.job.options import JobHooks, JobOptions, JobResult
from penstock.job.progress import Progress, ProgressState
from penstock.job.records import encode_record, error_record
from penstock.job.refusals import ErrorSummary, refuse_if_all_are
from penstock.job.report import make_report
from penstock.job.restarts import add_stats, verdict
from penstock.job.rows import Row, RowRefusedError, parse_row
from penstock.job.scan import (
    BLANK,
    DUPLICATE,
    PENDING,
    InputScan,
    open_input,
    read_rows,
    scan_input,
)
from penstock.job.supply import RowSupply
from penstock.job.writer import RecordWriter
from penstock.util import exitcodes
from penstock.util.childprocess import module_command

_SECONDS_TO_POLL = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_job(options: JobOptions, hooks: JobHooks | None = None) -> JobResult:
    """Runs, or continues, a job until every row has its record.

    Raises PenstockError when it is refused before any row ran; what happens later is in the
    result. SIGINT and SIGTERM stop it; every finished row is on disk then.
    """
    hooks = hooks or JobHooks()
    _refuse_same_files(options)
    JobFiles.refuse_before_reading(options)
    hooks.doing(f"reading {options.input}")
    scan = scan_input(options.input)
    identity = describe_job(scan, options.settings, options.defaults)
    with JobFiles.open(options, scan, identity) as files:
        if files.recovery.kept:
            hooks.tell(f"{files.recovery.kept} of {scan.rows} rows have their record already")
        scan.hashes = type(scan.hashes)("Q")
        state = _state(scan)
        if state.rows_done == state.rows:
            files.finish_empty()
            return JobResult(_final_code(state), {})
        _refuse_where_all_are(options, scan)
        return _Run(options, hooks, scan, files, state).run()


def _refuse_where_all_are(options: JobOptions, scan: InputScan) -> None:
    """A job that begins with many refused rows ends here, before the model is looked at."""
    if _state(scan).rows_done:
        return

    def reasons(lines: Iterator[tuple[int, bytes | None]]) -> Iterator[PenstockError | None]:
        for line, content in lines:
            if line > len(scan.states) or scan.states[line - 1] == BLANK:
                continue  # what was added since is refused later
            try:
                parse_row(line, content, options.defaults)
                yield None
            except RowRefusedError as refused:
                yield refused.error

    with open_input(options.input) as file:
        refuse_if_all_are(reasons(read_rows(file)))


def _refuse_same_files(options: JobOptions) -> None:
    if options.output.exists() and options.input.exists():
        if options.output.samefile(options.input):
            message = f"{options.output}: output and input are the same file"
            raise InvalidArgumentError(message, file=str(options.output), field="output")


def _state(scan: InputScan) -> ProgressState:
    plain = scan.states.translate(bytes(i & ~DUPLICATE for i in range(256)))
    failed = plain.count(2)
    done = plain.count(1) + failed
    return ProgressState(scan.rows, rows_done=done, rows_failed=failed, rows_before=done)


def _final_code(state: ProgressState) -> int:
    return exitcodes.ROW_ERRORS if state.rows_failed else exitcodes.OK


class _StopSignals:
    """While inside: SIGINT and SIGTERM are noted; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _StopSignals:
        try:
            self._before = {s: signal.signal(s, self._take) for s in _SIGNALS}
        except ValueError:  # not the main thread: its owner stops us otherwise
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        self.received = number
        signal.signal(number, signal.SIG_DFL)


class _Run:
    """One run of a job that has rows left."""

    def __init__(
        self,
        options: JobOptions,
        hooks: JobHooks,
        scan: InputScan,
        files: JobFiles,
        state: ProgressState,
    ) -> None:
        self._options, self._hooks, self._scan = options, hooks, scan
        self._files, self._state = files, state
        self._describe: dict[str, Any] = {}
        self._prediction: dict[str, Any] = {}
        self._peak_rss = 0
        self._writer: RecordWriter | None = None
        self._engine: EngineProcess  # from when a signal that stops us is taken
        self._command = hooks.worker_command or module_command("penstock.job.worker")
        self._restarts = hooks.restarts()
        self._stats_before: dict[str, Any] = {}
        self._progress: Progress | None = None
        self._errors = ErrorSummary()

    def run(self) -> JobResult:
        with _StopSignals() as stop:
            self._engine = EngineProcess(self._command)
            try:
                return self._guarded(stop)
            finally:
                self._engine.kill()
                if self._progress is not None:
                    self._progress.close()

    def _guarded(self, stop: _StopSignals) -> JobResult:
        with open_input(self._options.input) as file:
            supply = RowSupply(self._feed(read_rows(file)))
            while True:
                try:
                    return self._attempt(stop, supply)
                except PenstockError as error:
                    if self._writer is None:
                        raise
                    kept = self._save(error)
                    if not self._start_again(error, stop, supply):
                        return self._result(exitcodes.of_fault(error), kept)

    def _attempt(self, stop: _StopSignals, supply: RowSupply) -> JobResult:
        """As far as one engine gets."""
        self._engine.send(**self._opening())
        first = self._wait_ready(stop)
        if first is None:
            return self._result(exitcodes.STOPPED)
        code = self._pump(stop, first, supply)
        assert self._writer is not None
        self._writer.sync()
        return self._result(code)

    def _start_again(self, error: PenstockError, stop: _StopSignals, supply: RowSupply) -> bool:
        """A new engine in place of one that failed; False where it would be in vain."""
        blamed = supply.engine_died()
        if not self._restarts.allow(error, self._state.rows_done, blamed):
            return False
        self._hooks.tell(f"warning: {error}; starting the engine again")
        self._stats_before = self._state.stats
        self._engine.kill()
        until = time.monotonic() + self._restarts.seconds
        while time.monotonic() < until and not stop.received:
            time.sleep(_SECONDS_TO_POLL)
        self._engine = EngineProcess(self._command)
        return True

    def _give_verdicts(self) -> None:
        """Rows that are to blame for deaths of engines get their record."""
        for row, error in self._restarts.blamed:
            fields = (row.id, verdict(error), bool(row.url))
            self._add(row.line, encode_record(error_record(row.line, *fields)), True)
        self._restarts.blamed.clear()

    def _save(self, error: PenstockError) -> PenstockError:
        """Writes what has arrived, after a fault; the fault that is reported stays the first."""
        assert self._writer is not None
        try:
            self._writer.sync()
        except PenstockError as second:
            self._hooks.tell(str(second))
        return error

    def _opening(self) -> dict[str, Any]:
        samples = []
        for line, content in self._scan.samples:
            try:
                row = parse_row(line, content, self._options.defaults)
            except RowRefusedError:
                continue
            samples.append((row.to_wire(), len(content)))
        return {
            "type": "open",
            "settings": self._options.settings.to_json(),
            "rows": self._state.rows - self._state.rows_done,
            "samples": [wire for wire, _ in samples],
            "bytes": [size for _, size in samples],
            "longest_bytes": self._scan.longest_bytes,
            "trace": self._options.trace,
            "max_tokens": self._options.sampling.max_tokens,
        }

    def _wait_ready(self, stop: _StopSignals) -> list[dict[str, Any]] | None:
        """What the engine said after "ready"; None when stopped before."""
        while not stop.received:
            messages = self._engine.poll(_SECONDS_TO_POLL)
            while messages and messages[0]["type"] == "doing":
                self._hooks.doing(messages.pop(0)["text"])
            if messages:
                self._begin(messages[0])
                return messages[1:]
        return None

    def _begin(self, ready: dict[str, Any]) -> None:
        """The engine stands: the manifest is completed or compared before the first row."""
        self._describe = ready["describe"]
        self._prediction = ready.get("prediction", {})
        self._writer = self._files.begin(describe_engine(self._describe))
        for warning in self._describe.get("warnings", []):
            self._hooks.tell(f"warning: {warning}")
        self._state.row_tokens = ready.get("row_tokens", 0)
        if self._state.rows_done > self._state.rows_failed:
            self._give_verdicts()
        if self._progress is None:
            self._state.started = time.monotonic()
            self._progress = self._hooks.progress()

    def _pump(self, stop: _StopSignals, first: list[dict[str, Any]], supply: RowSupply) -> int:
        assert self._writer is not None and self._progress is not None
        self._take(first, supply)
        while not self._engine.is_done:
            if stop.received:
                self._take(self._engine.poll(0), supply)
                self._writer.flush()
                return exitcodes.STOPPED
            self._take(self._engine.poll(_SECONDS_TO_POLL), supply)
            self._writer.flush()
            self._writer.sync_if_due()
            self._progress.update(self._state)
        self._engine.finish()
        self._give_verdicts()
        self._writer.flush()
        return self._checked_end()

    def _checked_end(self) -> int:
        status = self._options.input.stat()
        if status.st_size != self._scan.size or self._state.rows_done != self._state.rows:
            message = f"{self._options.input}: changed while the job ran"
            raise JobChangedError(message, file=str(self._options.input))
        return _final_code(self._state)

    def _take(self, messages: list[dict[str, Any]], supply: RowSupply) -> None:
        for message in messages:
            kind = message["type"]
            if kind == "record":
                is_error = bool(message["error"])
                self._add(message["line"], message["text"].encode("utf-8"), is_error)
                supply.answered(message["line"])
            elif kind == "doing":
                self._hooks.doing(message["text"])
            elif kind in ("stats", "done"):
                self._state.stats = add_stats(self._stats_before, message["stats"])
                self._peak_rss = max(self._peak_rss, message["peak_rss"])
            for reply in supply.messages(message["rows"] if kind == "want" else 0):
                self._engine.send(**reply)

    def _feed(self, lines: Iterator[tuple[int, bytes | None]]) -> Iterator[Row]:
        """The rows to run; those that are refused get their record on the way."""
        states = self._scan.states
        for line, content in lines:
            if line > len(states):
                return
            if states[line - 1] & ~DUPLICATE != PENDING:
                continue
            try:
                row = parse_row(line, content, self._options.defaults)
                self._refuse_duplicate(row)
                yield row
            except RowRefusedError as refused:
                fields = (refused.id, refused.error, refused.is_batch)
                self._add(line, encode_record(error_record(line, *fields)), True)

    def _refuse_duplicate(self, row: Row) -> None:
        if self._scan.states[row.line - 1] & DUPLICATE:
            name = "custom_id" if row.url else "id"
            message = f"{name} {row.id!r:.80} is that of an earlier line"
            error = InvalidArgumentError(message, code="duplicate_id", field=name)
            raise RowRefusedError(error, row.id, bool(row.url))

    def _add(self, line: int, record: bytes, is_error: bool) -> None:
        assert self._writer is not None
        self._writer.add(line, record, is_error)
        self._state.rows_done += 1
        self._state.rows_failed += is_error
        if is_error:
            self._errors.add(line, record)

    def _result(self, code: int, error: PenstockError | None = None) -> JobResult:
        report = make_report(self._state, self._describe, self._peak_rss, code)
        if self._errors.by_code:
            report["errors"] = self._errors.by_code
        if self._prediction:
            report["prediction"] = self._prediction
        return JobResult(code, report, error)
