"""OpenAI batch files: their requests in our words, our results in theirs.

Nothing here is time or chance: ``created`` is 0 and ids come from the line, so that a resumed job
writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import InvalidArgumentError, UnsupportedError
from penstock.outputs import CompletionOutput

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
_ENVELOPE = frozenset(("custom_id", "method", "url", "body"))
_IGNORED = frozenset(("model", "user", "metadata", "store", "service_tier", "stream"))


def is_batch_row(fields: Mapping[str, Any]) -> bool:
    """Whether a line is meant as a batch request."""
    return "custom_id" in fields or ("body" in fields and "url" in fields)


def request_of(fields: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """URL, model name and the body in the words of our own rows; raises for what is refused."""
    for name in fields:
        if name not in _ENVELOPE:
            raise InvalidArgumentError(f"unknown field {name[:64]!r}", field=name[:64])
    url, body = fields.get("url"), fields.get("body")
    if fields.get("method", "POST") != "POST":
        raise InvalidArgumentError("method: allowed: POST", field="method")
    if url not in (COMPLETIONS, CHAT):
        allowed = f"{COMPLETIONS} or {CHAT}"
        raise UnsupportedError(f"url: found {url!r:.64}, allowed: {allowed}", field="url")
    if not isinstance(body, dict):
        raise InvalidArgumentError("body: allowed: an object", field="body")
    if body.get("stream"):
        raise UnsupportedError("stream is not supported", field="stream")
    needed, other = ("messages", "prompt") if url == CHAT else ("prompt", "messages")
    if needed not in body or other in body:
        raise InvalidArgumentError(f"body: {url} needs {needed}, alone", field=needed)
    own = {name: value for name, value in body.items() if name not in _IGNORED}
    if own.get("echo") is False:
        del own["echo"]
    model = body.get("model", "")
    return url, model if isinstance(model, str) else "", _own_names(url, own)


def _own_names(url: str, body: dict[str, Any]) -> dict[str, Any]:
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    if url == CHAT:
        wanted, top = body.pop("logprobs", None), body.pop("top_logprobs", None)
        if wanted not in (None, True, False):
            raise InvalidArgumentError("logprobs: allowed: true or false", field="logprobs")
        if wanted:
            body["logprobs"] = 0 if top is None else top
        elif top:
            raise InvalidArgumentError("top_logprobs: needs logprobs", field="top_logprobs")
    for name in ("id", "score"):
        if name in body:
            raise InvalidArgumentError(f"unknown field {name!r}", field=name)
    return body


def response(line: int, status: int, body: dict[str, Any]) -> dict[str, Any]:
    """The ``response`` of an output line."""
    return {"status_code": status, "request_id": f"req-{line}", "body": body}


def completion_body(
    row: Any, outputs: list[CompletionOutput], usage: dict[str, int]
) -> dict[str, Any]:
    """The body of a completion or chat completion; `row` is a :class:`penstock.rows.Row`."""
    is_chat = row.url == CHAT
    return {
        "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{row.line}",
        "object": "chat.completion" if is_chat else "text_completion",
        "created": 0,
        "model": row.model,
        "choices": [_choice(output, is_chat) for output in outputs],
        "usage": usage,
    }


def _choice(output: CompletionOutput, is_chat: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": output.index}
    if is_chat:
        choice["message"] = {"role": "assistant", "content": output.text}
        choice["logprobs"] = _chat_logprobs(output)
    else:
        choice["text"] = output.text
        choice["logprobs"] = _completion_logprobs(output)
    return {**choice, "finish_reason": output.finish_reason}


def _token(token: int, text: str | None) -> str:
    return text if text is not None else f"token_id:{token}"


def _chat_logprobs(output: CompletionOutput) -> dict[str, Any] | None:
    if output.logprobs is None:
        return None
    content = []
    for chosen, ranked in zip(output.token_ids, output.logprobs, strict=True):
        entries = {
            token: {
                "token": _token(token, entry.decoded_token),
                "logprob": entry.logprob,
                "bytes": list(_token(token, entry.decoded_token).encode("utf-8", "replace")),
            }
            for token, entry in ranked.items()
        }
        top = [entries[token] for token, entry in ranked.items() if entry.rank > 0]
        content.append({**entries[chosen], "top_logprobs": top})
    return {"content": content}


def _completion_logprobs(output: CompletionOutput) -> dict[str, Any] | None:
    if output.logprobs is None:
        return None
    pairs = list(zip(output.token_ids, output.logprobs, strict=True))
    texts = [_token(chosen, ranked[chosen].decoded_token) for chosen, ranked in pairs]
    return {
        "tokens": texts,
        "token_logprobs": [ranked[chosen].logprob for chosen, ranked in pairs],
        "top_logprobs": [
            {_token(token, e.decoded_token): e.logprob for token, e in ranked.items() if e.rank > 0}
            for _, ranked in pairs
        ],
        "text_offset": [sum(map(len, texts[:i])) for i in range(len(texts))],
    }
