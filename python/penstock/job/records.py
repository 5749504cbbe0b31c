"""The lines of a job's output."""

from __future__ import annotations

import json
from typing import Any

from penstock.engine.loop import Finished
from penstock.errors import PenstockError
from penstock.job import openai
from penstock.job.rows import Row, RowId
from penstock.outputs import CompletionOutput


def encode_record(record: dict[str, Any]) -> bytes:
    """A record as one line of UTF-8; text that is not valid Unicode is escaped."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def result_record(row: Row, tokens: list[int], done: Finished) -> dict[str, Any]:
    """The record of a finished row; `tokens` are those of its prompt."""
    new = sum(len(output.token_ids) for output in done.outputs)
    usage = {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": new,
        "total_tokens": done.prompt_tokens + new,
    }
    if row.url:
        body = openai.completion_body(row, done.outputs, usage)
        return {
            "id": f"batch_req_{row.line}",
            "custom_id": row.id,
            "response": openai.response(row.line, 200, body),
            "error": None,
        }
    if row.score:
        first: dict[str, Any] = {"text": "", "token_ids": [], "finish_reason": "score"}
    else:
        first = _completion(done.outputs[0])
    record = {"id": row.id, **first, "usage": usage}
    if len(done.outputs) > 1:
        record["outputs"] = [{"index": o.index, **_completion(o)} for o in done.outputs]
    if done.prompt_logprobs is not None:
        record["prompt_token_ids"] = tokens
        record["prompt_logprobs"] = done.prompt_logprobs
    return record


def _completion(output: CompletionOutput) -> dict[str, Any]:
    record: dict[str, Any] = {
        "text": output.text,
        "token_ids": output.token_ids,
        "finish_reason": output.finish_reason,
    }
    if output.stop_reason is not None:
        record["stop_reason"] = output.stop_reason
    if output.logprobs is not None:
        record["logprobs"] = [
            {
                "token": chosen,
                "logprob": entries[chosen].logprob,
                "top": [[token, e.logprob] for token, e in entries.items() if e.rank > 0],
            }
            for chosen, entries in zip(output.token_ids, output.logprobs, strict=True)
        ]
    return record


# Codes of errors that are the row's own fault.
_OF_THE_ROW = ("invalid_argument", "malformed", "unsupported", "duplicate_id")


def error_record(
    line: int, row_id: RowId | None, error: PenstockError, is_batch: bool
) -> dict[str, Any]:
    """The record of a row that has no result."""
    failure: dict[str, Any] = {**error.record(), "line": line}
    if not is_batch:
        return {"id": row_id, "error": failure}
    status = 400 if failure["code"] in _OF_THE_ROW else 500
    body = {
        "error": {"message": failure["message"], "type": failure["code"], "code": failure["code"]}
    }
    return {
        "id": f"batch_req_{line}",
        "custom_id": row_id,
        "response": openai.response(line, status, body),
        "error": failure,
    }
