"""Chat templates: messages to prompt text, rendered in a bounded helper process (see render)."""

from __future__ import annotations

import json
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError, NotFoundError, PenstockError
from penstock.text.model_folder import chat_template, special_token_texts, tokenizer_config
from penstock.util.childprocess import module_command

SECONDS_TO_START = 30.0
SECONDS_TO_RENDER = 5.0
_MAX_ANSWER_BYTES = 64 << 20
_READ_BYTES = 1 << 20


class ChatTemplate:
    """The chat template of one model folder. ``close()`` ends its helper process."""

    def __init__(
        self, source: str, variables: Mapping[str, str], file: str = "chat template"
    ) -> None:
        self._source, self._variables, self._file = source, dict(variables), file
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate:
        """The folder's template; raises NotFoundError when it has none."""
        config = tokenizer_config(folder)
        source = chat_template(folder, config)
        if source is None:
            message = f"{folder}: the model has no chat template; give prompts instead of messages"
            raise NotFoundError(message, file=str(folder), field="chat_template")
        return cls(source, special_token_texts(config), str(folder))

    @classmethod
    def given(cls, source: str, folder: Path) -> ChatTemplate:
        """Another template than the folder's own, with the folder's special tokens."""
        return cls(source, special_token_texts(tokenizer_config(folder)), "chat_template")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt text of `messages`; raises InvalidArgumentError when the template fails.

        `variables` are seen by the template; ``add_generation_prompt`` is true unless among them.
        """
        seen = {"add_generation_prompt": True, **(variables or {})}
        request = {"messages": list(messages), "variables": seen}
        if self._process is None:
            self._start()
        return str(self._ask(request, SECONDS_TO_RENDER)["text"])

    def close(self) -> None:
        """Ends the helper process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self) -> None:
        pipe = subprocess.PIPE
        command = module_command("penstock.text.render")
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._ask({"template": self._source, "variables": self._variables}, SECONDS_TO_START)

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(self._read_line(process, seconds))
        except PenstockError:
            raise
        except (OSError, ValueError):
            self.close()
            raise self._refuse("its process died") from None
        if "error" in answer:
            if "template" in request:
                self.close()
            raise self._refuse(str(answer["error"]))
        return dict(answer)

    def _read_line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        assert process.stdout is not None
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(seconds) or len(received) > _MAX_ANSWER_BYTES:
                    self.close()
                    raise self._refuse(f"it takes longer than {seconds:g} s")
                piece = process.stdout.read1(_READ_BYTES)  # type: ignore[attr-defined]
                if not piece:
                    raise OSError("end of answers")
                received += piece
        return bytes(received)

    def _refuse(self, reason: str) -> InvalidArgumentError:
        message = f"chat template of {self._file}: {reason}"
        return InvalidArgumentError(message, file=self._file, field="messages")
