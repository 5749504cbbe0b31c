"""The process of ``penstock run`` that owns tokenizer and engine.

One JSON object a line on standard input and output. It gets {"type": "open", ...} once, then
rows as it asks for them ({"type": "want", "rows": n}) and "end"; "wait" says that it is to
answer the rows it has before it looks for more. It answers "ready", "record",
"stats" and at last "done" or "failed". When its input ends early, its parent is gone and so is it.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.engine.loop import Work
from penstock.engine.native import Core, Engine, description, native_core, prediction, stats_dict
from penstock.engine.seeds import completion_seeds
from penstock.engine.session import Session
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError, PenstockError
from penstock.job.records import encode_record, error_record, result_record
from penstock.job.refusals import MANY_REFUSED, all_refused
from penstock.job.rows import Row, id_key
from penstock.settings import EngineSettings
from penstock.util.childprocess import die_with_parent, first_to_be_killed
from penstock.util.memory import peak_resident_bytes
from penstock.util.outputfile import write_atomically

EXIT_PARENT_GONE = 90
# Rows in flight where the engine does not tell how many it takes at a time.
_ROWS_IN_FLIGHT = 1024
_WAITING_ROWS, _TOKENS_IN_FLIGHT = 64, 4 << 20
_SECONDS_BETWEEN_STATS = 0.5


class Channel:
    """The parent's end of the pipes. Whatever else writes to standard output goes to stderr."""

    def __init__(self) -> None:
        self._input = os.fdopen(os.dup(0), "rb")
        self._output = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, name="parent", daemon=True).start()

    def _read(self) -> None:
        for line in self._input:
            self._messages.put(json.loads(line))
        os._exit(EXIT_PARENT_GONE)

    def receive(self) -> dict[str, Any]:
        """The next message; waits for it."""
        return self._messages.get()

    def send(self, kind: str, **fields: Any) -> None:
        """Sends one message."""
        self._output.write(json.dumps({"type": kind, **fields}).encode() + b"\n")
        self._output.flush()


@dataclass(frozen=True)
class _InFlight:
    row: Row
    count: int
    shown_tokens: list[int]


class Worker:
    """Runs one job's rows."""

    def __init__(self, channel: Channel, core: Core, opening: dict[str, Any]) -> None:
        """Loads the tokenizer, plans for the sample of rows and makes the engine."""
        self._channel, self._core = channel, core
        self._settings = EngineSettings(**opening["settings"])
        self._session = Session(self._settings, core, self._tell_doing)
        self._encoder = self._session.encoder
        if not self._settings.is_dummy:
            self._tell_doing("loading the tokenizer")
        _ = self._session.tokenizer  # loaded first: the engine is planned beside its memory
        self._engine = self._open(opening)
        self._loop = self._session.loop(self._engine)
        self._rows: dict[int, _InFlight] = {}
        self._tokens_in_flight = 0
        self._credit, self._ended, self._sent_at = 0, False, 0.0
        self._waits = False
        self._trace = opening["trace"]
        if self._trace:
            self._engine.record_trace(True)

    def _open(self, opening: dict[str, Any]) -> Engine:
        lengths: list[int] = []
        new: list[int | None] = []
        refused: list[PenstockError] = []
        limit = self._session.max_context() if opening["samples"] else 0
        _refuse_no_room(opening.get("max_tokens"), limit)
        per_byte = 0.0
        for wire, size in zip(opening["samples"], opening["bytes"], strict=True):
            row = Row.from_wire(wire)
            try:
                tokens = self._tokens(row)
                _refuse_too_long(len(tokens), row, limit)
            except PenstockError as error:
                refused.append(error)
                continue
            lengths.append(len(tokens))
            per_byte = max(per_byte, len(tokens) / size)
            new.append(0 if row.score else row.params.max_tokens)
        if not lengths and len(refused) >= MANY_REFUSED:
            raise all_refused(refused[0], len(refused))
        sample = Workload.of_rows(lengths, new)
        longest = max(sample.max_prompt, int(per_byte * opening["longest_bytes"]))
        self._row_tokens = sample.mean_prompt + sample.mean_new
        workload = replace(
            sample, expected_rows=opening["rows"], max_prompt=longest, early_results=True
        )
        return self._session.open(workload)

    def run(self) -> None:
        """Answers every row the parent sends."""
        about = {**description(self._engine), "build": _build_of(self._core)}
        self._channel.send(
            "ready",
            describe=about,
            prediction=prediction(self._engine),
            tokenizer_bytes=self._encoder.memory_bytes,
            row_tokens=self._row_tokens,
            pid=os.getpid(),
        )
        policy = about.get("policy", {})
        sequences = int(policy.get("max_sequences", _ROWS_IN_FLIGHT))
        target = sequences + max(_WAITING_ROWS, sequences // 4)
        while True:
            self._fill(target - self._loop.in_flight)
            if self._ended and self._loop.idle:
                break
            self._step()
            self._tell_stats()
        self._finish()

    def _finish(self) -> None:
        if self._trace:
            self._write_trace(Path(self._trace))
        self._session.close()
        stats = stats_dict(self._engine.stats())
        self._channel.send("done", stats=stats, peak_rss=peak_resident_bytes())

    def _write_trace(self, path: Path) -> None:
        """The rows are done: a trace that cannot be written is no reason to run them again."""
        try:
            write_atomically(path, self._engine.take_trace().encode())
        except PenstockError as error:
            self._channel.send("doing", text=f"warning: the trace is not written: {error}")

    def _tell_doing(self, text: str) -> None:
        self._channel.send("doing", text=text)

    def _fill(self, wanted: int) -> None:
        """Takes up to `wanted` rows more, fewer when their prompts are long."""
        if self._waits and not self._loop.idle:
            return
        self._waits = False
        while wanted > 0 and not self._ended and self._tokens_in_flight < _TOKENS_IN_FLIGHT:
            if self._credit == 0:
                self._credit = min(wanted, _WAITING_ROWS)
                self._channel.send("want", rows=self._credit)
            message = self._channel.receive()
            if message["type"] == "end":
                self._ended, self._credit = True, 0
                return
            if message["type"] == "wait":
                self._waits = True
                return
            self._credit -= 1
            wanted -= self._take(Row.from_wire(message["row"]))

    def _take(self, row: Row) -> bool:
        """Submits a row; False when it was refused, and answered so."""
        try:
            tokens = self._tokens(row)
            base, key = self._settings.seed, id_key(row.id)
            seeds = completion_seeds(base, row.params.seed, key, row.params.n)
            self._loop.submit(Work(row.line, tokens, row.params, seeds, row.score))
        except PenstockError as error:
            record = error_record(row.line, row.id, error, bool(row.url))
            self._send_record(row.line, record, error.code)
            return False
        is_shown = row.score or bool(row.params.prompt_logprobs)
        self._rows[row.line] = _InFlight(row, len(tokens), tokens if is_shown else [])
        self._tokens_in_flight += len(tokens)
        return True

    def _tokens(self, row: Row) -> list[int]:
        if row.messages is not None:
            return self._encoder.messages(row.messages, row.variables)
        return self._encoder.text(row.prompt) if isinstance(row.prompt, str) else row.prompt or []

    def _step(self) -> None:
        for done in self._loop.step():
            taken = self._rows.pop(int(str(done.key)))
            self._tokens_in_flight -= taken.count
            record = result_record(taken.row, taken.shown_tokens, done)
            self._send_record(taken.row.line, record)

    def _send_record(self, line: int, record: dict[str, Any], error: str = "") -> None:
        text = encode_record(record).decode("utf-8")
        self._channel.send("record", line=line, error=error, text=text)

    def _tell_stats(self) -> None:
        now = time.monotonic()
        if now - self._sent_at >= _SECONDS_BETWEEN_STATS:
            self._sent_at = now
            stats = stats_dict(self._engine.stats())
            self._channel.send("stats", stats=stats, peak_rss=peak_resident_bytes())


def _refuse_no_room(max_tokens: int | None, limit: int) -> None:
    """A job whose rows cannot have what they ask for, whatever their prompts are."""
    if limit and max_tokens is not None and max_tokens >= limit:
        allowed = f"1 to {limit - 1}: the context is {limit} tokens, the prompt among them"
        message = f"max_tokens: found {max_tokens}, allowed: {allowed}"
        raise InvalidArgumentError(message, field="max_tokens", found=max_tokens, allowed=allowed)


def _refuse_too_long(prompt: int, row: Row, limit: int) -> None:
    """As the engine will; `limit` 0 is unknown."""
    new = 0 if row.score else row.params.max_tokens or 1
    if limit and prompt + new > limit:
        found = f"{prompt} prompt tokens + {new} to generate"
        message = f"too long: {found}, the context is {limit} tokens"
        raise InvalidArgumentError(message, field="max_tokens", found=found, allowed=limit)


def _build_of(core: Core) -> str:
    """A digest of the compiled engine: another build may round differently."""
    file = getattr(core, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else core.version()


def main(core: Core | None = None) -> int:
    """Serves the parent of this process until the job is done; `core` stands in for the engine."""
    die_with_parent()
    first_to_be_killed()
    channel = Channel()
    opening = channel.receive()
    try:
        Worker(channel, core or native_core(), opening).run()
    except PenstockError as error:
        channel.send("failed", error=error.record())
        return 1
    except MemoryError:
        message = "not enough memory: the machine gave less than the budget allows"
        channel.send("failed", error={"code": "memory", "message": message})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
