"""Prompts of every form to token ids: text, ids, chat messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError
from penstock.text.chat import ChatTemplate
from penstock.text.checks import check_messages, check_template_variables
from penstock.text.tokenizer import Tokenizer

# A private-use character that stands where a special token was written in a message.
_MARK = "\ue0ff"


class PromptEncoder:
    """Turns prompts into token ids; loads tokenizer and chat template when first needed."""

    def __init__(self, model: str, special_tokens: bool = False) -> None:
        self._model, self._special_tokens = model, special_tokens
        self._tokenizer: Tokenizer | None = None
        self._chat: ChatTemplate | None = None
        self._given: tuple[str, ChatTemplate] | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; raises NotFoundError when it has none."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(Path(self._model), self._special_tokens)
        return self._tokenizer

    @property
    def optional_tokenizer(self) -> Tokenizer | None:
        """The tokenizer, or None for a model that has none."""
        return self.tokenizer if (Path(self._model) / "tokenizer.json").exists() else None

    @property
    def memory_bytes(self) -> int:
        """What the tokenizer was measured to take."""
        return self._tokenizer.memory_bytes if self._tokenizer else 0

    def text(self, text: str) -> list[int]:
        """Token ids of a text prompt. An empty one is allowed where the tokenizer adds BOS."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            found = f"a lone surrogate at character {error.start}"
            raise InvalidArgumentError(f"prompt: {found}", field="prompt", found=found) from None
        ids = self.tokenizer.encode(text)
        if not ids:
            message = "prompt: empty, and the model has no beginning-of-text token"
            raise InvalidArgumentError(message, field="prompt")
        return ids

    def messages(
        self, messages: object, variables: object = None, template: str | None = None
    ) -> list[int]:
        """Token ids of a conversation, through the model's chat template.

        `variables` are what the template sees beside the messages; `template` is one to use instead
        of the model's. Special tokens that the messages spell out stay plain text, unless they are
        allowed; in `variables` they are refused then.
        """
        checked, seen = check_messages(messages), check_template_variables(variables)
        chat = self._template(template)
        specials = [] if self._special_tokens else self.tokenizer.specials
        _refuse_specials(seen, specials)
        found = [s for s in specials if any(s in m["content"] for m in checked)]
        if not found:
            text = chat.render(checked, seen)
            return self.tokenizer.encode(text, add_special_tokens=False, special_tokens=True)
        longest_first = sorted(found, key=len, reverse=True)
        rendered = chat.render(_hidden(checked, longest_first), seen)
        return self._encoded(rendered, longest_first)

    def _template(self, source: str | None) -> ChatTemplate:
        """The template of the model, or a given one: the last of each is kept."""
        if source is None:
            if self._chat is None:
                self._chat = ChatTemplate.load(Path(self._model))
            return self._chat
        if self._given is None or self._given[0] != source:
            if self._given is not None:
                self._given[1].close()
            self._given = source, ChatTemplate.given(source, Path(self._model))
        return self._given[1]

    def _encoded(self, rendered: str, specials: list[str]) -> list[int]:
        """Token ids of a text in which marks and numbers stand for `specials` as plain text."""
        ids: list[int] = []
        for index, piece in enumerate(rendered.split(_MARK)):
            is_special = index % 2 == 1
            text = specials[int(piece)] if is_special else piece
            ids += self.tokenizer.encode(
                text, add_special_tokens=False, special_tokens=not is_special
            )
        return ids

    def close(self) -> None:
        """Ends the helper process of the chat template."""
        if self._chat is not None:
            self._chat.close()
        if self._given is not None:
            self._given[1].close()


def _refuse_specials(variables: dict[str, Any], specials: list[str]) -> None:
    name = "chat_template_kwargs"
    text = json.dumps(variables, ensure_ascii=False) if variables else ""
    found = next((s for s in specials if json.dumps(s, ensure_ascii=False)[1:-1] in text), None)
    if found is not None:
        message = f"{name}: found the special token {found!r}, allowed: text without special tokens"
        raise InvalidArgumentError(message, field=name, found=found)


def _hidden(messages: list[dict[str, str]], specials: list[str]) -> list[dict[str, str]]:
    """The messages with a mark, a number and a mark in place of each of `specials`."""
    hidden = []
    for message in messages:
        content = message["content"].replace(_MARK, "")
        for index, special in enumerate(specials):
            content = content.replace(special, f"{_MARK}{index}{_MARK}")
        hidden.append({**message, "content": content})
    return hidden
