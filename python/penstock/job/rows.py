"""One line of a job's input: checked, or refused with a reason.

A row is ``{"id", "prompt"}``, ``{"id", "messages"}``, ``{"id", "prompt", "score": true}`` or a line
of an OpenAI batch file, with sampling parameters beside the prompt (or in the body).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import InvalidArgumentError, MalformedError, PenstockError
from penstock.job import openai
from penstock.sampling import SamplingParams
from penstock.text.checks import check_messages, check_template_variables, check_token_ids
from penstock.util.strictjson import loads

MAX_LINE_BYTES = 16 << 20
MAX_ID_BYTES = 512
_OWN = frozenset(("id", "prompt", "messages", "score", "chat_template_kwargs"))

RowId = str | int


@dataclass(frozen=True)
class Row:
    """A checked row. Exactly one of ``prompt`` and ``messages`` is set; ``url`` is "" but for rows
    of an OpenAI batch. ``variables`` are chat_template_kwargs. ``line`` counts from 1."""

    line: int
    id: RowId
    params: SamplingParams
    prompt: str | list[int] | None = None
    messages: list[dict[str, str]] | None = None
    variables: dict[str, Any] | None = None
    score: bool = False
    url: str = ""
    model: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As JSON values, for the engine's process."""
        wire = {name: value for name, value in vars(self).items() if value is not None}
        return {**wire, "params": self.params.to_json()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Row:
        """What ``to_wire`` made."""
        return cls(**{**wire, "params": SamplingParams.from_json(wire["params"])})


class RowRefusedError(Exception):
    """A row that cannot be run. ``id`` is None when the line does not have a usable one."""

    def __init__(self, error: PenstockError, row_id: RowId | None, is_batch: bool) -> None:
        super().__init__(str(error))
        self.error, self.id, self.is_batch = error, row_id, is_batch


def id_key(row_id: RowId) -> bytes:
    """An id as bytes; 1 and "1" are two ids."""
    if isinstance(row_id, str):
        return b"s" + row_id.encode("utf-8", "surrogatepass")
    return b"i%d" % row_id


def read_line(raw: bytes | None) -> dict[str, Any]:
    """The object of one line; None stands for a line that is too long."""
    if raw is None:
        message = f"the line is over {MAX_LINE_BYTES} bytes"
        raise MalformedError(message, allowed=MAX_LINE_BYTES)
    value = loads(raw, "the line")
    if not isinstance(value, dict):
        found = type(value).__name__
        raise MalformedError(f"the line is not a JSON object (found {found})", found=found)
    return value


def row_id(fields: Mapping[str, Any]) -> RowId:
    """The id of a row; raises InvalidArgumentError when it is missing or no id."""
    name = "custom_id" if openai.is_batch_row(fields) else "id"
    allowed = f"a string of 1 to {MAX_ID_BYTES} bytes or an integer"
    if name not in fields:
        raise InvalidArgumentError(f"{name} is missing; allowed: {allowed}", field=name)
    value = fields[name]
    is_text = isinstance(value, str) and 0 < len(id_key(value)) - 1 <= MAX_ID_BYTES
    is_integer = type(value) is int and -(1 << 63) <= value < 1 << 64
    if not is_text and not is_integer:
        found = json.dumps(value)[:64]
        raise InvalidArgumentError(f"{name}: found {found}, allowed: {allowed}", field=name)
    return value


@dataclass(frozen=True)
class RowDefaults:
    """A job's sampling parameters: for prompts, and for conversations.

    They differ where the job does not say how long answers may be: a conversation then goes on to
    the end of the context.
    """

    text: SamplingParams
    chat: SamplingParams


def parse_row(line: int, raw: bytes | None, defaults: RowDefaults) -> Row:
    """The row of a line. Raises RowRefusedError."""
    found_id: RowId | None = None
    is_batch = False
    try:
        fields = read_line(raw)
        is_batch = openai.is_batch_row(fields)
        found_id = row_id(fields)
        if is_batch:
            url, model, body = openai.request_of(fields)
            return Row(line, found_id, url=url, model=model, **_body(body, defaults))
        return Row(line, found_id, **_body(fields, defaults))
    except PenstockError as error:
        raise RowRefusedError(error, found_id, is_batch) from None


def _body(fields: Mapping[str, Any], defaults: RowDefaults) -> dict[str, Any]:
    overrides = {name: value for name, value in fields.items() if name not in _OWN}
    prompt, messages, score = (fields.get(n) for n in ("prompt", "messages", "score"))
    if score not in (None, True, False) or isinstance(score, int) and type(score) is not bool:
        raise InvalidArgumentError("score: allowed: true or false", field="score")
    if (prompt is None) == (messages is None):
        what = "neither prompt nor messages" if prompt is None else "both prompt and messages"
        raise InvalidArgumentError(f"the row has {what}; allowed: one of them", field="prompt")
    if messages is not None and score:
        raise InvalidArgumentError("score: only for rows with a prompt", field="score")
    variables = fields.get("chat_template_kwargs")
    if messages is not None:
        body = {"messages": check_messages(messages), "params": defaults.chat.merged(overrides)}
        return (
            {**body, "variables": check_template_variables(variables)}
            if variables is not None
            else body
        )
    if variables is not None:
        name = "chat_template_kwargs"
        raise InvalidArgumentError(f"{name}: only for rows with messages", field=name)
    params = defaults.text.merged(overrides)
    return {"prompt": _prompt(prompt), "params": params, "score": bool(score)}


def _prompt(prompt: object) -> str | list[int]:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list):
        return check_token_ids(prompt)
    found = type(prompt).__name__
    message = f"prompt: found {found}, allowed: a string or token ids"
    raise InvalidArgumentError(message, field="prompt", found=found)
