"""``LLM``: a model that may be larger than memory, in one process, for many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.engine.loop import Finished, RequestLoop, Work
from penstock.engine.native import Core, Engine, stats_dict
from penstock.engine.opening import Listener
from penstock.engine.seeds import completion_seeds
from penstock.engine.session import Session
from penstock.engine.vllm_names import constructor_options, refuse_others
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError, engine_errors
from penstock.outputs import RequestOutput, ScoreOutput
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.text.checks import check_template_variables, check_token_ids
from penstock.util.bar import progress_bar, speaker

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.settings import EngineOptions

    class LLMOptions(EngineOptions, total=False):
        """The same, and vLLM's name for one of them."""

        max_model_len: int | None


Prompt = str | Sequence[int] | Mapping[str, Any]
Params = SamplingParams | Sequence[SamplingParams] | None
# Options of chat() that are variables of the template.
_VARIABLES = ("add_generation_prompt", "tools")
_CHAT_OPTIONS = (
    "messages, sampling_params, use_tqdm, chat_template, chat_template_kwargs, tools,"
    " add_generation_prompt"
)
# Prompt tokens that wait inside the engine at most.
_WAITING_TOKENS = 1 << 20
# More rows than that factor times what the engine was planned for: it is planned anew.
_MORE_ROWS = 4


class LLM:
    """Generates from, and scores with, one model.

    ``LLM("models/opt-6.7b", host_memory="4GiB", weights="int4")``. `model` is a Hugging Face folder
    or ``dummy:NAME``. The options are those of :class:`penstock.settings.EngineOptions`: device,
    host_memory, device_memory, disk, disk_memory, weights, kv, compute ("fast", "weight_only" or
    "exact"), invariant, policy, machine, probe, cache, threads, pin_threads, seed, max_context,
    special_tokens. A machine that has no figures yet is measured first, for about 10 s, which the
    logger "penstock" says; ``probe=False`` plans with built-in figures instead.

    The engine is made on first use, planned for the work at hand, and made anew when a later call
    does not fit it. Prompts are strings or lists of token ids; a folder without tokenizer.json
    takes ids. The same call gives the same result each time: rows are seeded by `seed` and their
    position; and a row's result is its own, whatever rows are beside it, unless
    ``invariant=False`` gives that up. Then ``compute="weight_only"`` multiplies many rows by
    cuBLASLt, on GPUs from compute capability 8.0 on where the machine has it, which is expected to
    be faster; elsewhere it changes nothing. Prompts may be wrapped, as {"prompt": ...} or
    {"prompt_token_ids": ...}. Errors are :class:`penstock.PenstockError`. Not thread safe.
    """

    def __init__(
        self, model: str | Path, core: Core | None = None, **options: Unpack[LLMOptions]
    ) -> None:
        """Checks the options; reads no weights yet. `core` replaces the native module in tests.

        vLLM's names are accepted where they mean something here: ``max_model_len`` is max_context.
        Others are refused by name, unless their value changes nothing.
        """
        own = constructor_options(options)
        self._session = Session(EngineSettings.make(model, **own), core)
        self._encoder = self._session.encoder
        self._engine: Engine | None = None
        self._planned = Workload()

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        use_tqdm: bool | Callable[..., Any] = False,
        params: Params = None,
        **others: Any,
    ) -> list[RequestOutput]:
        """Continues each prompt; results in the order of the prompts.

        `sampling_params` (or `params`) is one for all, or one per prompt. With `use_tqdm` standard
        error shows what is being done before the first prompt can run, and a bar how many are done;
        a class such as ``tqdm.tqdm`` makes its own. Without, nothing is shown. Raises
        InvalidArgumentError when a prompt is longer than the context or not a prompt, and
        UnsupportedError for vLLM's other options.
        """
        refuse_others("generate", others, "prompts, sampling_params, use_tqdm")
        each = _one_name(sampling_params, params)
        texts = _as_list(prompts)
        tokens = [self._tokens(p) for p in texts]
        return self._generate(texts, tokens, _one_each(each, len(tokens)), use_tqdm)

    def chat(
        self,
        messages: Sequence[Any],
        sampling_params: Params = None,
        *,
        use_tqdm: bool | Callable[..., Any] = False,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        params: Params = None,
        **others: Any,
    ) -> list[RequestOutput]:
        """Answers a conversation, or each of a list of them, through the model's chat template.

        A conversation is a list of ``{"role": ..., "content": ...}``. Without `sampling_params` an
        answer may go on to the end of the context. `chat_template` is the text of another template;
        `chat_template_kwargs` holds further variables of the template, as do the options `tools`
        and `add_generation_prompt`.
        """
        variables = {n: others.pop(n) for n in _VARIABLES if others.get(n) is not None}
        refuse_others("chat", others, _CHAT_OPTIONS)
        variables.update(check_template_variables(chat_template_kwargs))
        each = _one_name(sampling_params, params)
        is_one = bool(messages) and isinstance(messages[0], dict)
        conversations = [messages] if is_one else list(messages)
        tokens = [self._encoder.messages(list(c), variables, chat_template) for c in conversations]
        to_the_end = SamplingParams(max_tokens=None)
        chosen = _one_each(to_the_end if each is None else each, len(tokens))
        return self._generate([None] * len(tokens), tokens, chosen, use_tqdm)

    def score(
        self, prompts: Prompt | Sequence[Prompt], *, use_tqdm: bool | Callable[..., Any] = False
    ) -> list[ScoreOutput]:
        """The log-probability of each token of each text, given the tokens before it."""
        texts = _as_list(prompts)
        tokens = [self._tokens(p) for p in texts]
        params = SamplingParams(max_tokens=1)
        work = [Work(i, t, params, [0], score=True) for i, t in enumerate(tokens)]
        finished = self._run(work, [0] * len(work), use_tqdm)
        return [
            ScoreOutput(_text_of(text), ids, done.prompt_logprobs or [None])
            for text, ids, done in zip(texts, tokens, finished, strict=True)
        ]

    def logits(self, token_ids: Sequence[int]) -> Any:
        """Logits after each of these tokens: numpy float32, shape (tokens, vocabulary)."""
        ids = check_token_ids(token_ids)
        engine = self._ready(Workload.of_rows([len(ids)], [0]))
        with engine_errors():
            return engine.logits(ids)

    def plan(
        self, workload: Workload | None = None, tell: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Model, formats, policy, the reasons for it and memory by item, for this workload.

        Needs config.json alone: no weights are read. `tell` hears what is being done.
        """
        return self._session.plan(workload or self._planned, tell)

    def stats(self) -> dict[str, Any]:
        """Seconds and bytes per lane, peak bytes and budget per tier; {} before any use."""
        return stats_dict(self._engine.stats()) if self._engine is not None else {}

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer (``encode``, ``decode``)."""
        return self._encoder.tokenizer

    def get_tokenizer(self) -> Any:
        """The same as ``tokenizer``, as vLLM calls it."""
        return self.tokenizer

    def close(self) -> None:
        """Gives the engine's memory back; the next call makes a new one."""
        self._engine = None
        self._planned = Workload()
        self._session.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens(self, prompt: object) -> list[int]:
        if isinstance(prompt, Mapping):
            given = [prompt[k] for k in prompt if k in ("prompt", "prompt_token_ids")]
            prompt = given[0] if len(given) == len(prompt) == 1 else prompt
        if isinstance(prompt, str):
            return self._encoder.text(prompt)
        if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
            found = type(prompt).__name__
            message = f"prompt: found {found}, allowed: a string or token ids"
            raise InvalidArgumentError(message, field="prompt", found=found)
        return check_token_ids(prompt)

    def _generate(
        self,
        prompts: Sequence[object],
        tokens: list[list[int]],
        each: list[SamplingParams],
        use_tqdm: bool | Callable[..., Any],
    ) -> list[RequestOutput]:
        seed = self._session.settings.seed
        work = [
            Work(i, ids, p, completion_seeds(seed, p.seed, str(i).encode(), p.n))
            for i, (ids, p) in enumerate(zip(tokens, each, strict=True))
        ]
        finished = self._run(work, [p.max_tokens for p in each], use_tqdm)
        return [
            RequestOutput(_text_of(prompt), ids, done.outputs, done.prompt_logprobs)
            for prompt, ids, done in zip(prompts, tokens, finished, strict=True)
        ]

    def _run(
        self, work: list[Work], new: Sequence[int | None], use_tqdm: bool | Callable[..., Any]
    ) -> list[Finished]:
        say = speaker(use_tqdm)
        if not work:
            return []
        _ = self._session.tokenizer  # loaded first: an engine is planned beside its memory
        engine = self._ready(Workload.of_rows([len(w.tokens) for w in work], new), say)
        loop = self._session.loop(engine)
        done: dict[Any, Finished] = {}
        try:
            with progress_bar(use_tqdm, len(work)) as advance:
                for finished in _drive(loop, work):
                    done[finished.key] = finished
                    advance()
        except BaseException:
            loop.cancel_all()
            raise
        return [done[w.key] for w in work]

    def _ready(self, workload: Workload, say: Callable[[str], None] | None = None) -> Engine:
        """The engine; a new one when this workload is more than the present one was planned for."""
        if self._engine is not None and _fits(workload, self._planned):
            return self._engine
        self._engine = None
        self._engine = self._session.open(workload, Listener.of(say) if say else None)
        self._planned = workload
        return self._engine


def _fits(workload: Workload, planned: Workload) -> bool:
    longest, room = workload.max_prompt + workload.max_new, planned.max_prompt + planned.max_new
    return longest <= room and workload.expected_rows <= _MORE_ROWS * max(1, planned.expected_rows)


def _drive(loop: RequestLoop, work: list[Work]) -> Iterator[Finished]:
    """Keeps the engine supplied without handing it everything at once."""
    queue = iter(work)
    pending = next(queue, None)
    fed: dict[Any, int] = {}
    while pending is not None or not loop.idle:
        while pending is not None and sum(fed.values()) + len(pending.tokens) <= _WAITING_TOKENS:
            loop.submit(pending)
            fed[pending.key] = len(pending.tokens)
            pending = next(queue, None)
        for finished in loop.step():
            del fed[finished.key]
            yield finished


def _as_list(prompts: object) -> list[Any]:
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Sequence):
        return [prompts]
    items = list(prompts)
    return [items] if items and isinstance(items[0], int) else items


def _text_of(prompt: object) -> str | None:
    prompt = prompt.get("prompt") if isinstance(prompt, Mapping) else prompt
    return prompt if isinstance(prompt, str) else None


def _one_name(sampling_params: Params, params: Params) -> Params:
    if sampling_params is not None and params is not None:
        message = "params and sampling_params are one option; give one of them"
        raise InvalidArgumentError(message, field="sampling_params")
    return params if sampling_params is None else sampling_params


def _one_each(params: Params, count: int) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * count
    if not isinstance(params, Sequence) or not all(isinstance(p, SamplingParams) for p in params):
        found = f"{params!r:.80}"
        message = f"sampling_params: found {found}, allowed: SamplingParams, or one for each prompt"
        raise InvalidArgumentError(message, field="sampling_params", found=found)
    if len(params) != count:
        message = f"params: found {len(params)} for {count} prompts, allowed: one, or one each"
        raise InvalidArgumentError(message, field="params", found=len(params), allowed=count)
    return list(params)
