"""The parent's handle on the process that owns the engine (see job/worker)."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from typing import Any

from penstock.errors import EngineDiedError, PenstockError, from_record
from penstock.util.deaths import how_it_ended, signal_name

_READ_BYTES = 1 << 18
_TAIL_BYTES = 8 << 10
_SECONDS_TO_END = 10.0


class EngineProcess:
    """Sends and receives messages; raises PenstockError when the engine fails or dies.

    It has a session of its own, so that Ctrl-C on the terminal reaches the parent only.
    """

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None and self._process.stderr is not None
        for stream, handler in (
            (self._process.stdout, self._take_output),
            (self._process.stderr, self._take_errors),
        ):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, handler)
        self._received = bytearray()
        self._errors = b""
        self._kernels = ""  # the instruction set that the engine chose
        self.is_done = False

    def send(self, **message: Any) -> None:
        """Sends one message. A dead process shows at the next ``poll``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def poll(self, seconds: float) -> list[dict[str, Any]]:
        """The messages that are there, waiting up to `seconds` for the first."""
        for key, _ in self._selector.select(seconds):
            key.data(key.fileobj)
        *lines, rest = bytes(self._received).split(b"\n") if b"\n" in self._received else [b""]
        if lines:
            self._received = bytearray(rest)
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if message["type"] == "failed":
                raise from_record(message["error"])
            if message["type"] == "ready":
                self._kernels = str(message["describe"].get("isa", ""))
            self.is_done = self.is_done or message["type"] == "done"
        if not messages and not self._is_open() and not self.is_done:
            raise self._death()
        return messages

    def kill(self) -> None:
        """Ends the process at once, and waits for it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._close()

    def finish(self) -> None:
        """Waits for a process that said it is done."""
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    @property
    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        return self._errors.decode("utf-8", "replace").strip()

    def _close(self) -> None:
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _is_open(self) -> bool:
        return any(key.data == self._take_output for key in self._selector.get_map().values())

    def _read(self, stream: Any) -> bytes:
        try:
            piece = os.read(stream.fileno(), _READ_BYTES)
        except BlockingIOError:
            return b""
        if not piece:
            self._selector.unregister(stream)
        return piece

    def _take_output(self, stream: Any) -> None:
        self._received += self._read(stream)

    def _take_errors(self, stream: Any) -> None:
        self._errors = (self._errors + self._read(stream))[-_TAIL_BYTES:]

    def _death(self) -> PenstockError:
        code = self._process.wait()
        for key in list(self._selector.get_map().values()):
            key.data(key.fileobj)
        found = str(code) if code >= 0 else signal_name(code)
        how = how_it_ended(code, self._kernels)
        said = f"; it said:\n{self.errors}" if self.errors else ""
        return EngineDiedError(f"the engine's process {how}{said}", found=found)
