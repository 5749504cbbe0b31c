"""Stop strings, found in text that arrives token by token."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.text.tokenizer import Detokenizer, Tokenizer


class StopFinder:
    """Watches the text of one continuation for the first of several strings.

    A stop string may begin in one token and end in another. ``found`` is the string that ended the
    text, ``text`` what stands before it.
    """

    def __init__(
        self, tokenizer: Tokenizer, context: Sequence[int], stops: tuple[str, ...], min_tokens: int
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer, context)
        self._stops, self._min_tokens = stops, min_tokens
        self._longest = max(map(len, stops))
        self._count = 0
        self.text = ""
        self.found: str | None = None

    def push(self, token: int) -> bool:
        """Adds a token; True when a stop string is complete."""
        self._count += 1
        new = self._detokenizer.push(token)
        begin = max(0, len(self.text) - self._longest + 1)
        self.text += new
        if not new or self._count <= self._min_tokens:
            return False
        hits = [(self.text.find(stop, begin), stop) for stop in self._stops]
        hits = [(at, stop) for at, stop in hits if at >= 0]
        if not hits:
            return False
        at, self.found = min(hits, key=lambda hit: (hit[0], -len(hit[1])))
        self.text = self.text[:at]
        return True
