"""A model ready for use: its settings, tokenizer and engine, as ``LLM`` and jobs both need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.engine.loop import RequestLoop
from penstock.engine.measured import log_words, with_figures
from penstock.engine.native import Core, Engine, native_core
from penstock.engine.opening import (
    Listener,
    Tell,
    open_engine,
    refuse_wrong_options,
    tell_nobody,
)
from penstock.engine.planning import context_limit, plan
from penstock.engine.workload import Workload
from penstock.errors import BudgetError
from penstock.settings import EngineSettings
from penstock.text.model_folder import eos_token_ids
from penstock.text.prompts import PromptEncoder
from penstock.text.tokenizer import Tokenizer


class Session:
    """One model. The native module and the tokenizer are loaded when they are first needed."""

    def __init__(
        self, settings: EngineSettings, core: Core | None = None, tell: Tell = tell_nobody
    ) -> None:
        """Reads nothing yet. `core` replaces the native module in tests.

        `tell` is called with what is done before each step that may take a while. Without it the
        log hears of a machine that has to be measured.
        """
        self.settings = settings
        self.encoder = PromptEncoder(settings.model, settings.special_tokens)
        self._core, self._tell = core, tell
        self._has_figures = False

    @property
    def core(self) -> Core:
        """The native module."""
        if self._core is None:
            self._core = native_core()
        return self._core

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, or None for a model that has none."""
        return self.encoder.optional_tokenizer

    def open(self, workload: Workload, listener: Listener | None = None) -> Engine:
        """An engine planned for `workload`, beside the memory that the tokenizer takes by now.

        `listener` hears of it in place of the session's `tell`.
        """
        self._find_figures(self._tell)
        memory, hears = self.encoder.memory_bytes, listener or Listener.of(self._tell)
        try:
            return open_engine(self.core, self.settings, workload, memory, hears)
        except BudgetError as error:
            if not workload.is_open:
                raise
            message = (
                f"{error}; a row without max_tokens may go on to the end of the context: max_tokens"
                " or max_context makes it shorter"
            )
            raise BudgetError(
                message, **{k: v for k, v in error.record().items() if k != "message"}
            ) from None

    def loop(self, engine: Engine) -> RequestLoop:
        """What feeds `engine` with rows."""
        settings = self.settings
        eos = [] if settings.is_dummy else eos_token_ids(Path(settings.model))
        return RequestLoop(self.core, engine, self.tokenizer, eos)

    def plan(self, workload: Workload, tell: Tell | None = None) -> dict[str, Any]:
        """What an engine would do for `workload`; `tell` hears of it in place of the session's."""
        hears = tell or self._tell
        self._find_figures(hears)
        return plan(self.core, self.settings, workload, self.encoder.memory_bytes, hears)

    def _find_figures(self, tell: Tell) -> None:
        """Once, before the first plan: what this machine can do."""
        if not self._has_figures and hasattr(self.core, "Planning"):
            hears = log_words if tell is tell_nobody else tell
            refuse_wrong_options(self.core, self.settings)
            self.settings = with_figures(self.settings, hears)
        self._has_figures = True

    def max_context(self) -> int:
        """Tokens that a row may have, without an engine; 0: unknown before there is one."""
        return context_limit(self.core, self.settings)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the helper process of the chat template."""
        self.encoder.close()
