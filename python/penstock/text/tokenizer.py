"""Text to token ids and back, by the ``tokenizers`` library, behind a guard.

tokenizer.json is untrusted: its size is bounded, truncation and padding settings in it are
ignored, and a panic of the library becomes a typed error.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError, MalformedError, NotFoundError
from penstock.util.memory import give_back_free_memory, private_bytes
from penstock.util.strictjson import read_bytes

MAX_FILE_BYTES = 64 << 20
_REPLACEMENT = "\ufffd"
_CONTEXT_TOKENS = 5
_LONGEST_PARTIAL = 4
# The measured growth is rounded up, so that the smallest budget is the same from run to run.
_ROUNDED_BYTES = 1 << 18


@contextmanager
def _guard(refusal: MalformedError | InvalidArgumentError) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # the library's PanicException is no Exception
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        details = {k: v for k, v in refusal.record().items() if k != "message"}
        raise type(refusal)(f"{refusal}: {reason}", **details) from None


class Tokenizer:
    """One tokenizer.json. ``memory_bytes`` is the growth of the process while it was loaded."""

    def __init__(self, raw: bytes, file: str, special_tokens: bool = False) -> None:
        """`special_tokens`: text may contain special tokens; otherwise they are plain text."""
        from tokenizers import Tokenizer as Library

        before = private_bytes()
        self.special_tokens = special_tokens
        with _guard(MalformedError(f"{file}: refused by the tokenizers library", file=file)):
            self._library: Any = Library.from_buffer(raw)
            self._library.no_truncation()
            self._library.no_padding()
            self._specials = sorted(
                token.content
                for token in self._library.get_added_tokens_decoder().values()
                if token.special and token.content
            )
            self._library.encode("The first text grows its tables.")
        self.prefix = tuple(self.encode(""))
        gc.collect()
        give_back_free_memory()
        grown = max(0, private_bytes() - before)
        self.memory_bytes = -(-grown // _ROUNDED_BYTES) * _ROUNDED_BYTES

    @classmethod
    def load(cls, folder: Path, special_tokens: bool = False) -> Tokenizer:
        """Reads FOLDER/tokenizer.json; raises NotFoundError or MalformedError."""
        path = folder / "tokenizer.json"
        if not path.exists():
            message = f"{path}: no such file; without it prompts must be token ids"
            raise NotFoundError(message, file=str(path))
        return cls(read_bytes(path, MAX_FILE_BYTES), str(path), special_tokens)

    @property
    def specials(self) -> list[str]:
        """The texts of the special tokens."""
        return self._specials

    def encode(
        self, text: str, add_special_tokens: bool = True, special_tokens: bool | None = None
    ) -> list[int]:
        """Token ids of `text`, with what the post-processor adds (usually BOS) unless that is off.

        `special_tokens` overrides the tokenizer's own setting for this text.
        """
        allow = self.special_tokens if special_tokens is None else special_tokens
        with _guard(InvalidArgumentError("this text cannot be tokenised", field="prompt")):
            self._library.encode_special_tokens = not allow
            return list(self._library.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids without special tokens; bytes that are no UTF-8 become U+FFFD."""
        with _guard(InvalidArgumentError("these tokens cannot be decoded", field="tokens")):
            return str(self._library.decode(list(tokens), skip_special_tokens=True))

    def token_text(self, token: int) -> str:
        """The text of one token, special ones included."""
        with _guard(InvalidArgumentError("this token cannot be decoded", field="tokens")):
            return str(self._library.decode([token], skip_special_tokens=False))

    def continuation(self, context: Sequence[int], tokens: Sequence[int]) -> str:
        """The text that `tokens` add after `context`, so that a leading space is kept."""
        tail = list(context[-_CONTEXT_TOKENS:])
        base, whole = self.decode(tail), self.decode([*tail, *tokens])
        if base.endswith(_REPLACEMENT):
            base = base.rstrip(_REPLACEMENT)
        return whole[len(base) :] if whole.startswith(base) else self.decode(tokens)


class Detokenizer:
    """The text of a growing list of tokens; holds back characters that are not complete yet."""

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._settled: list[int] = list(context[-_CONTEXT_TOKENS:])
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """The text that is certain now and was not before; "" inside a multi-byte character."""
        self._pending.append(token)
        text = self._tokenizer.continuation(self._settled, self._pending)
        if text.endswith(_REPLACEMENT) and len(self._pending) < _LONGEST_PARTIAL:
            return ""
        if text:
            self._settled = (self._settled + self._pending)[-_CONTEXT_TOKENS:]
            self._pending = []
        return text
