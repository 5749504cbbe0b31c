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

_MEMORY, _NUMBERS, _CHOICE = "Memory", "Formats and compute", "Choosing tokens"


def _option(help_text: str, panel: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel)


@dataclass(frozen=True)
class EngineArgs:
    """The engine's options; names are those of :class:`penstock.LLM`."""

    host_memory: Annotated[
        str,
        _option("Ceiling on the engine's RAM, as 4GiB. Default: most of what is free.", _MEMORY),
    ] = ""
    device: Annotated[
        str,
        _option("cpu, cpu:avx2, ..., virtual, cuda:0, or a pipeline: cuda:0,cuda:1.", _NUMBERS),
    ] = "cpu"
    device_memory: Annotated[
        str, _option("Ceiling on an accelerator's memory; of several each: 4GiB,8GiB.", _MEMORY)
    ] = ""
    disk: Annotated[str, _option("Folder for spilled KV and activations.", _MEMORY)] = ""
    disk_memory: Annotated[str, _option("Ceiling on spilled bytes.", _MEMORY)] = ""
    weights: Annotated[
        str, _option("auto (as published), int8, int8-g64, int4, int4-g32, ...", _NUMBERS)
    ] = "auto"
    kv: Annotated[str, _option("auto, fp32, fp16, bf16, int8 or int4.", _NUMBERS)] = "auto"
    compute: Annotated[
        str,
        _option(
            "Activations beside quantised weights: fast (int8), weight_only (16 bits; CUDA) or"
            " exact (fp32).",
            _NUMBERS,
        ),
    ] = "fast"
    invariant: Annotated[
        bool,
        _option(
            "A row's results do not depend on the rows beside it. Without: weight_only may multiply"
            " many rows by cuBLASLt.",
            _NUMBERS,
        ),
    ] = True
    policy: Annotated[str, _option("auto, JSON text, or a JSON file.", _MEMORY)] = "auto"
    machine: Annotated[
        str,
        _option(
            "auto (what penstock probe measured), t4, rtx4090, h200, laptop, or a JSON file.",
            _MEMORY,
        ),
    ] = "auto"
    throttle: Annotated[
        str,
        _option("Run as if on a slower machine: its rates, as JSON text or a file.", _NUMBERS),
    ] = ""
    cache: Annotated[str, _option("Folder for packed weights. Default: in MODEL.", _MEMORY)] = ""
    threads: Annotated[int, _option("0: one per core.", _NUMBERS)] = 0
    pin_threads: Annotated[
        bool, _option("Each compute thread stays on one core.", _NUMBERS, "--pin-threads")
    ] = False
    max_context: Annotated[
        int, _option("Tokens a row may have; 0: the model's limit.", _MEMORY)
    ] = 0
    seed: Annotated[int, _option("Seed of all sampling.", _CHOICE)] = 0
    special_tokens: Annotated[
        bool,
        _option("Prompts may contain special tokens as text.", _CHOICE, "--special-tokens"),
    ] = False

    def settings(self, model: str) -> EngineSettings:
        """The checked settings."""
        return EngineSettings.make(model, **vars(self))


@dataclass(frozen=True)
class SamplingArgs:
    """Sampling parameters for rows that do not set their own."""

    max_tokens: Annotated[
        int | None, _option("Default: 16; for messages, to the end of the context.", _CHOICE)
    ] = None
    min_tokens: Annotated[int | None, _option("No end before that many.", _CHOICE)] = None
    temperature: Annotated[float | None, _option("0: greedy. Default 1.", _CHOICE)] = None
    top_k: Annotated[int | None, _option("0: off.", _CHOICE)] = None
    top_p: Annotated[float | None, _option("1: off.", _CHOICE)] = None
    min_p: Annotated[float | None, _option("0: off.", _CHOICE)] = None
    n: Annotated[int | None, _option("Completions per row.", _CHOICE, "--n")] = None
    stop: Annotated[list[str] | None, _option("Ends the text; repeatable.", _CHOICE)] = None
    stop_token_ids: Annotated[
        list[int] | None, _option("Token id that ends the text; repeatable.", _CHOICE)
    ] = None
    ignore_eos: Annotated[
        bool | None, _option("Go on after the end-of-text token.", _CHOICE, "--ignore-eos")
    ] = None
    logprobs: Annotated[int | None, _option("Also of the k most likely.", _CHOICE)] = None
    prompt_logprobs: Annotated[
        bool | None, _option("Of each prompt token.", _CHOICE, "--prompt-logprobs")
    ] = None
    presence_penalty: Annotated[float | None, _option("-2 to 2.", _CHOICE)] = None
    frequency_penalty: Annotated[float | None, _option("-2 to 2.", _CHOICE)] = None
    repetition_penalty: Annotated[float | None, _option("1: off.", _CHOICE)] = None
    logit_bias: Annotated[
        str | None, _option('JSON: {"token id": added to its logit}.', _CHOICE)
    ] = None
    allowed_token_ids: Annotated[
        list[int] | None, _option("Only these may be chosen; repeatable.", _CHOICE)
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
