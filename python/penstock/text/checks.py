"""The forms that prompts have: token ids and messages, checked without tokenizer or template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from penstock.errors import InvalidArgumentError


def check_token_ids(tokens: Sequence[object]) -> list[int]:
    """Token ids as a list of ints; anything else, or none, is an InvalidArgumentError."""
    allowed = "a non-empty list of token ids (integers from 0)"
    ids = [t for t in tokens if isinstance(t, int) and not isinstance(t, bool) and 0 <= t < 1 << 31]
    if not ids or len(ids) != len(tokens):
        wrong = next((repr(t)[:40] for t in tokens if t not in ids or isinstance(t, bool)), "none")
        raise InvalidArgumentError(
            f"prompt: found {wrong}, allowed: {allowed}",
            field="prompt",
            found=wrong,
            allowed=allowed,
        )
    return ids


def check_messages(messages: object) -> list[dict[str, str]]:
    """Messages as role and content strings; text parts in OpenAI form are joined by newlines."""
    allowed = 'a list of {"role": ..., "content": ...}'
    if not isinstance(messages, list) or not messages or len(messages) > 10_000:
        raise InvalidArgumentError(
            f"messages: allowed: {allowed}", field="messages", allowed=allowed
        )
    return [_check_message(i, message) for i, message in enumerate(messages)]


def _check_message(index: int, message: object) -> dict[str, str]:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or not all(isinstance(k, str) for k in message):
        raise InvalidArgumentError(f"{where}: not an object", field=where)
    unknown = sorted(set(message) - {"role", "content", "name"})
    if unknown:
        raise InvalidArgumentError(f"{where}: unknown field {unknown[0][:64]!r}", field=where)
    checked = {name: message[name] for name in ("role", "name") if name in message}
    if not isinstance(checked.get("role"), str) or not isinstance(checked.get("name", ""), str):
        raise InvalidArgumentError(f"{where}: role must be a string", field=f"{where}.role")
    return {**checked, "content": _content(where, message.get("content"))}


def _content(where: str, content: object) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else [None]:
        is_text = isinstance(part, dict) and part.get("type") == "text"
        text = part.get("text") if is_text and isinstance(part, dict) else None
        if not isinstance(text, str):
            message = f"{where}.content: allowed: a string or a list of text parts"
            raise InvalidArgumentError(message, field=f"{where}.content")
        texts.append(text)
    return "\n".join(texts)


_MAX_VARIABLES_CHARS = 1 << 20


def check_template_variables(variables: object) -> dict[str, Any]:
    """``chat_template_kwargs``: what a chat template sees beside the messages; None is nothing."""
    name = "chat_template_kwargs"
    if variables is None:
        return {}
    if not isinstance(variables, dict) or not all(isinstance(k, str) for k in variables):
        found, allowed = type(variables).__name__, "an object, names to JSON values"
        message = f"{name}: found {found}, allowed: {allowed}"
        raise InvalidArgumentError(message, field=name, found=found, allowed=allowed)
    if "messages" in variables:
        raise InvalidArgumentError(f"{name}: messages stand in the row itself", field=name)
    try:
        text = json.dumps(variables)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name}: not JSON: {error}", field=name) from None
    if len(text) > _MAX_VARIABLES_CHARS:
        found, allowed = f"{len(text)} characters", f"at most {_MAX_VARIABLES_CHARS}"
        message = f"{name}: found {found}, allowed: {allowed}"
        raise InvalidArgumentError(message, field=name, found=found, allowed=allowed)
    return dict(variables)
