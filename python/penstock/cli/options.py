"""Options that several commands share, as dataclasses that Typer sees as plain parameters."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.util.command_options import (
    BENCH,
    DOCTOR,
    EVAL,
    JOB,
    PLAN,
    PROBE,
    SAMPLING,
    WORKLOAD,
    command_option,
)
from penstock.util.engine_options import CHOICE, option_named


def _option(group: str, name: str, **limits: float) -> Any:
    """An option of a command, as the table has it; no flag has a ``--no-``."""
    option = command_option(group, name)
    panel = CHOICE if group == SAMPLING else None
    return typer.Option(option.flag, help=option.help, rich_help_panel=panel, **limits)  # type: ignore[arg-type]


def _engine(name: str) -> Any:
    """An option of the engine, as the table has it; a flag that is off has no ``--no-``."""
    option = option_named(name)
    names = (option.flag,) if option.default is False else ()
    return typer.Option(*names, help=option.help, rich_help_panel=option.group)


@dataclass(frozen=True)
class EngineArgs:
    """The engine's options; names are those of :class:`penstock.LLM`."""

    host_memory: Annotated[str, _engine("host_memory")] = ""
    device: Annotated[str, _engine("device")] = "cpu"
    device_memory: Annotated[str, _engine("device_memory")] = ""
    disk: Annotated[str, _engine("disk")] = ""
    disk_memory: Annotated[str, _engine("disk_memory")] = ""
    weights: Annotated[str, _engine("weights")] = "auto"
    kv: Annotated[str, _engine("kv")] = "auto"
    compute: Annotated[str, _engine("compute")] = "fast"
    invariant: Annotated[bool, _engine("invariant")] = True
    policy: Annotated[str, _engine("policy")] = "auto"
    machine: Annotated[str, _engine("machine")] = "auto"
    probe: Annotated[bool, _engine("probe")] = True
    throttle: Annotated[str, _engine("throttle")] = ""
    cache: Annotated[str, _engine("cache")] = ""
    threads: Annotated[int, _engine("threads")] = 0
    pin_threads: Annotated[bool, _engine("pin_threads")] = False
    max_context: Annotated[int, _engine("max_context")] = 0
    seed: Annotated[int, _engine("seed")] = 0
    special_tokens: Annotated[bool, _engine("special_tokens")] = False

    def settings(self, model: str) -> EngineSettings:
        """The checked settings."""
        return EngineSettings.make(model, **vars(self))


@dataclass(frozen=True)
class SamplingArgs:
    """Sampling parameters for rows that do not set their own."""

    max_tokens: Annotated[int | None, _option(SAMPLING, "max_tokens")] = None
    min_tokens: Annotated[int | None, _option(SAMPLING, "min_tokens")] = None
    temperature: Annotated[float | None, _option(SAMPLING, "temperature")] = None
    top_k: Annotated[int | None, _option(SAMPLING, "top_k")] = None
    top_p: Annotated[float | None, _option(SAMPLING, "top_p")] = None
    min_p: Annotated[float | None, _option(SAMPLING, "min_p")] = None
    n: Annotated[int | None, _option(SAMPLING, "n")] = None
    stop: Annotated[list[str] | None, _option(SAMPLING, "stop")] = None
    stop_token_ids: Annotated[list[int] | None, _option(SAMPLING, "stop_token_ids")] = None
    ignore_eos: Annotated[bool | None, _option(SAMPLING, "ignore_eos")] = None
    logprobs: Annotated[int | None, _option(SAMPLING, "logprobs")] = None
    prompt_logprobs: Annotated[bool | None, _option(SAMPLING, "prompt_logprobs")] = None
    presence_penalty: Annotated[float | None, _option(SAMPLING, "presence_penalty")] = None
    frequency_penalty: Annotated[float | None, _option(SAMPLING, "frequency_penalty")] = None
    repetition_penalty: Annotated[float | None, _option(SAMPLING, "repetition_penalty")] = None
    logit_bias: Annotated[str | None, _option(SAMPLING, "logit_bias")] = None
    allowed_token_ids: Annotated[list[int] | None, _option(SAMPLING, "allowed_token_ids")] = None

    def params(self) -> SamplingParams:
        """The checked parameters."""
        given = {name: value for name, value in vars(self).items() if value not in (None, [])}
        if "logit_bias" in given:
            try:
                given["logit_bias"] = json.loads(given["logit_bias"])
            except ValueError as error:
                message = f"logit_bias: not JSON: {error}"
                raise InvalidArgumentError(message, field="logit_bias") from None
        return SamplingParams().merged(given)


@dataclass(frozen=True)
class WorkloadArgs:
    """Prompt and output lengths of made-up rows."""

    rows: Annotated[int, _option(WORKLOAD, "rows", min=1, max=1 << 24)] = 64
    prompt_len: Annotated[int, _option(WORKLOAD, "prompt_len", min=1)] = 32
    new: Annotated[int, _option(WORKLOAD, "new", min=1)] = 32

    def workload(self) -> Workload:
        """Rows that are all alike."""
        return Workload.uniform(self.rows, self.prompt_len, self.new)


@dataclass(frozen=True)
class PageArgs:
    """The page of ``penstock plan``."""

    json: Annotated[bool, _option(PLAN, "json")] = False
    html: Annotated[Path | None, _option(PLAN, "html")] = None
    report: Annotated[Path | None, _option(PLAN, "report")] = None
    trace: Annotated[Path | None, _option(PLAN, "trace")] = None


@dataclass(frozen=True)
class JobArgs:
    """Files of ``penstock run``."""

    input: Annotated[Path, _option(JOB, "input")]
    output: Annotated[Path, _option(JOB, "output")]
    overwrite: Annotated[bool, _option(JOB, "overwrite")] = False
    report: Annotated[Path | None, _option(JOB, "report")] = None
    trace: Annotated[Path | None, _option(JOB, "trace")] = None
    recalibrate: Annotated[bool, _option(JOB, "recalibrate")] = False


@dataclass(frozen=True)
class BenchArgs:
    """How ``penstock bench`` runs its workload."""

    materialise: Annotated[Path | None, _option(BENCH, "materialise")] = None
    schedule: Annotated[str, _option(BENCH, "as")] = ""
    recalibrate: Annotated[bool, _option(BENCH, "recalibrate")] = False


@dataclass(frozen=True)
class ProbeArgs:
    """What ``penstock probe`` measures, and where it keeps it."""

    device: Annotated[str, _option(PROBE, "device")] = "cpu"
    disk: Annotated[Path, _option(PROBE, "disk")] = Path(".")
    threads: Annotated[int, _option(PROBE, "threads", min=0, max=4096)] = 0
    seconds: Annotated[float, _option(PROBE, "seconds", min=1, max=3600)] = 30
    quick: Annotated[bool, _option(PROBE, "quick")] = False
    output: Annotated[Path | None, _option(PROBE, "output")] = None


@dataclass(frozen=True)
class EvalArgs:
    """The text of ``penstock eval``, and its windows."""

    text: Annotated[Path, _option(EVAL, "text")]
    context: Annotated[int, _option(EVAL, "context", min=2)] = 512
    stride: Annotated[int, _option(EVAL, "stride", min=0)] = 0


@dataclass(frozen=True)
class DoctorArgs:
    """What ``penstock doctor`` looks at."""

    disk: Annotated[Path, _option(DOCTOR, "disk")] = Path(".")
    as_json: Annotated[bool, _option(DOCTOR, "json")] = False


def flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose dataclass parameters are replaced by their fields, for Typer to read."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = typing.cast("type[Any]", hints[name])
            parameters += _fields(groups[name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[name], kind=kind))

    @functools.wraps(function)
    def call(**given: Any) -> Any:
        built = {
            name: group(**{f.name: given.pop(f.name) for f in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return function(**given, **built)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    del call.__wrapped__
    return call


def _fields(group: type[Any]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=(
                inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            ),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
