"""Prompts of every form to token ids: text, ids, chat messages."""

from __future__ import annotations

from pathlib import Path

from penstock.errors import InvalidArgumentError
from penstock.text.chat import ChatTemplate
from penstock.text.checks import check_messages
from penstock.text.tokenizer import Tokenizer

# A private-use character that stands where a special token was written in a message.
_MARK = "\ue0ff"


class PromptEncoder:
    """Turns prompts into token ids; loads tokenizer and chat template when first needed."""

    def __init__(self, model: str, special_tokens: bool = False) -> None:
        self._model, self._special_tokens = model, special_tokens
        self._tokenizer: Tokenizer | None = None
        self._chat: ChatTemplate | None = None

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

    def messages(self, messages: object) -> list[int]:
        """Token ids of a conversation, through the model's chat template.

        Special tokens that the messages spell out stay plain text, unless they are allowed.
        """
        checked = check_messages(messages)
        if self._chat is None:
            self._chat = ChatTemplate.load(Path(self._model))
        specials = [] if self._special_tokens else self.tokenizer.specials
        found = [s for s in specials if any(s in m["content"] for m in checked)]
        if not found:
            text = self._chat.render(checked)
            return self.tokenizer.encode(text, add_special_tokens=False, special_tokens=True)
        return self._guarded_messages(checked, found)

    def _guarded_messages(self, messages: list[dict[str, str]], found: list[str]) -> list[int]:
        assert self._chat is not None
        longest_first = sorted(found, key=len, reverse=True)
        hidden = []
        for message in messages:
            content = message["content"].replace(_MARK, "")
            for index, special in enumerate(longest_first):
                content = content.replace(special, f"{_MARK}{index}{_MARK}")
            hidden.append({**message, "content": content})
        ids: list[int] = []
        for index, piece in enumerate(self._chat.render(hidden).split(_MARK)):
            is_special = index % 2 == 1
            text = longest_first[int(piece)] if is_special else piece
            ids += self.tokenizer.encode(
                text, add_special_tokens=False, special_tokens=not is_special
            )
        return ids

    def close(self) -> None:
        """Ends the helper process of the chat template."""
        if self._chat is not None:
            self._chat.close()
