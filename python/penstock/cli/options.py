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
from penstock.util.engine_options import CHOICE, option_named


def _option(help_text: str, panel: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel)


def _engine(name: str) -> Any:
    """An option of the engine, as the table has it; a flag that is off has no ``--no-``."""
    option = option_named(name)
    names = (option.flag,) if option.default is False else ()
    return _option(option.help, option.group, *names)


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

    max_tokens: Annotated[
        int | None, _option("Default: 16; for messages, to the end of the context.", CHOICE)
    ] = None
    min_tokens: Annotated[int | None, _option("No end before that many.", CHOICE)] = None
    temperature: Annotated[float | None, _option("0: greedy. Default 1.", CHOICE)] = None
    top_k: Annotated[int | None, _option("0: off.", CHOICE)] = None
    top_p: Annotated[float | None, _option("1: off.", CHOICE)] = None
    min_p: Annotated[float | None, _option("0: off.", CHOICE)] = None
    n: Annotated[int | None, _option("Completions per row.", CHOICE, "--n")] = None
    stop: Annotated[list[str] | None, _option("Ends the text; repeatable.", CHOICE)] = None
    stop_token_ids: Annotated[
        list[int] | None, _option("Token id that ends the text; repeatable.", CHOICE)
    ] = None
    ignore_eos: Annotated[
        bool | None, _option("Go on after the end-of-text token.", CHOICE, "--ignore-eos")
    ] = None
    logprobs: Annotated[int | None, _option("Also of the k most likely.", CHOICE)] = None
    prompt_logprobs: Annotated[
        bool | None, _option("Of each prompt token.", CHOICE, "--prompt-logprobs")
    ] = None
    presence_penalty: Annotated[float | None, _option("-2 to 2.", CHOICE)] = None
    frequency_penalty: Annotated[float | None, _option("-2 to 2.", CHOICE)] = None
    repetition_penalty: Annotated[float | None, _option("1: off.", CHOICE)] = None
    logit_bias: Annotated[
        str | None, _option('JSON: {"token id": added to its logit}.', CHOICE)
    ] = None
    allowed_token_ids: Annotated[
        list[int] | None, _option("Only these may be chosen; repeatable.", CHOICE)
    ] = None

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

    rows: Annotated[int, typer.Option(min=1, max=1 << 24, help="Rows.")] = 64
    prompt_len: Annotated[int, typer.Option(min=1, help="Prompt tokens a row.")] = 32
    new: Annotated[int, typer.Option(min=1, help="Generated tokens a row.")] = 32

    def workload(self) -> Workload:
        """Rows that are all alike."""
        return Workload.uniform(self.rows, self.prompt_len, self.new)


@dataclass(frozen=True)
class PageArgs:
    """The page of ``penstock plan``."""

    json: Annotated[bool, typer.Option("--json", help="Print JSON on a terminal too.")] = False
    html: Annotated[Path | None, typer.Option(help="Also write the plan as a page for people.")] = (
        None
    )
    report: Annotated[
        Path | None, typer.Option(help="Report of penstock run, to show beside the plan.")
    ] = None
    trace: Annotated[
        Path | None, typer.Option(help="Trace of penstock run, a sweep of which is drawn.")
    ] = None


@dataclass(frozen=True)
class JobArgs:
    """Files of ``penstock run``."""

    input: Annotated[Path, typer.Option(help="JSONL file of rows.")]
    output: Annotated[Path, typer.Option(help="JSONL file of records; rerun to continue it.")]
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew; the old output is dropped.")
    ] = False
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON.")] = None
    trace: Annotated[Path | None, typer.Option(help="Write a trace that Perfetto opens.")] = None
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Correct the machine file by this run.")
    ] = False


@dataclass(frozen=True)
class BenchArgs:
    """How ``penstock bench`` runs its workload."""

    materialise: Annotated[
        Path | None, typer.Option(help="Write dummy:NAME as a folder instead, and stop.")
    ] = None
    schedule: Annotated[
        str, typer.Option("--as", help="Schedule as another system does: flexgen.")
    ] = ""
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Correct the machine file by this run.")
    ] = False


@dataclass(frozen=True)
class ProbeArgs:
    """What ``penstock probe`` measures, and where it keeps it."""

    device: Annotated[str, typer.Option(help="What computes, as for run.")] = "cpu"
    disk: Annotated[Path, typer.Option(help="Folder on the disk to measure.")] = Path(".")
    threads: Annotated[int, typer.Option(min=0, max=4096, help="0: one per core.")] = 0
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="About how long.")] = 30
    quick: Annotated[bool, typer.Option("--quick", help="Rougher figures in 10 s.")] = False
    output: Annotated[
        Path | None, typer.Option(help="Where to keep the figures. Default: where engines look.")
    ] = None


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
