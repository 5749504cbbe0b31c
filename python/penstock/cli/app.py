"""The command line: ``penstock run``, ``plan``, ``probe``, ``doctor`` and the other commands."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.options import (
    BenchArgs,
    EngineArgs,
    JobArgs,
    PageArgs,
    ProbeArgs,
    SamplingArgs,
    WorkloadArgs,
    flattened,
)
from penstock.cli.pipes import quiet_pipe
from penstock.errors import InvalidArgumentError, PenstockError
from penstock.machine.facts import machine_facts
from penstock.settings import EngineSettings
from penstock.util import exitcodes
from penstock.util.outputfile import refuse_unwritable
from penstock.util.sizes import format_size

app = typer.Typer(
    help="Runs language models that are larger than memory over files of prompts.",
    epilog=exitcodes.HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Hugging Face folder, or dummy:NAME.")]


def _version(wanted: bool) -> None:
    if wanted:
        from penstock import __version__

        print(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    with quiet_pipe():
        print(json.dumps(value), flush=True)


def _doing(text: str) -> None:
    _tell(text if text.startswith("warning: ") else f"{text} ...")


def _warn_of_memory(settings: EngineSettings, is_for_this_machine: bool = True) -> None:
    """A ceiling above what the machine has is none."""
    has = machine_facts()["memory_bytes"]
    if is_for_this_machine and settings.host_memory > has:
        asked = format_size(settings.host_memory)
        _tell(f"warning: host_memory is {asked}, and this machine has {format_size(has)}")


@app.command(epilog=exitcodes.HELP)
@flattened
def run(model: Model, job: JobArgs, engine: EngineArgs, sampling: SamplingArgs) -> None:
    """Generate for (or score) every row of a JSONL file.

    Rows: {"id", "prompt": text or token ids}, {"id", "messages"}, {"id", "prompt", "score": true},
    or OpenAI batch lines; sampling parameters may stand in the row. Records are written as rows
    finish. The same command continues a job that was stopped or killed, and does nothing for one
    that is complete.
    """
    from penstock.cli.tables import error_lines, print_report
    from penstock.engine.measured import with_figures
    from penstock.job.options import JobHooks, JobOptions
    from penstock.job.progress import open_progress
    from penstock.job.report import write_report
    from penstock.job.run import run_job

    _refuse_overlap(job)
    settings = engine.settings(model)
    _warn_of_memory(settings)
    if job.recalibrate:
        settings = with_figures(settings, _doing)
    correct = _recalibration(engine, settings) if job.recalibrate else None
    options = JobOptions(
        input=job.input,
        output=job.output,
        settings=settings,
        sampling=sampling.params(),
        limits_chat=sampling.max_tokens is not None,
        overwrite=job.overwrite,
        trace=str(job.trace) if job.trace else "",
    )
    result = run_job(options, JobHooks(progress=open_progress, tell=_tell, doing=_doing))
    if not result.report:
        _tell(f"{job.output} is complete; nothing to do")
        raise typer.Exit(result.exit_code)
    if job.report is not None:
        write_report(job.report, result.report)
    if correct is not None and result.error is None and result.report.get("prediction"):
        correct(result.report)
    with quiet_pipe():
        print_report(result.report)
    for line in error_lines(result.report):
        _tell(line)
    if result.error is not None:
        _tell(f"error: {result.error}")
    if result.exit_code in (exitcodes.STOPPED, exitcodes.FAULT):
        _tell("stopped; finished rows are in the output, and the same command continues the job")
    raise typer.Exit(result.exit_code)


def _refuse_overlap(job: JobArgs) -> None:
    """A report or trace must not land on the input or the output, and must be writable."""
    if job.report is not None:
        refuse_unwritable(job.report, "report")
    for extra, name in ((job.report, "report"), (job.trace, "trace")):
        if extra is not None and extra.absolute() in (job.input.absolute(), job.output.absolute()):
            message = f"{name}: {extra} is the job's input or output"
            raise InvalidArgumentError(message, field=name)


@app.command()
@flattened
def plan(model: Model, workload: WorkloadArgs, engine: EngineArgs, page: PageArgs) -> None:
    """Show what a workload would take: formats, policy, memory and time.

    A table on a terminal; JSON elsewhere and with --json. It needs config.json alone.
    """
    from penstock.cli.tables import print_plan
    from penstock.engine.session import Session
    from penstock.page import open_page

    written = open_page(page.html, page.report, page.trace)
    settings = engine.settings(model)
    _warn_of_memory(settings, is_for_this_machine=engine.machine in ("", "auto"))
    with Session(settings, tell=_doing) as session:
        found = session.plan(dataclasses.replace(workload.workload(), early_results=True))
    if written is not None:
        written.write(found)
        _tell(f"the page is in {written.path}")
    if "prediction" in found:  # its sweep has thousands of steps: they are for the page
        brief = {name: told for name, told in found["prediction"].items() if name != "sweep"}
        found = {**found, "prediction": brief}
    if page.json or not sys.stdout.isatty():
        _print_json(found)
    else:
        with quiet_pipe():
            print_plan(found)


@app.command()
@flattened
def probe(asked: ProbeArgs) -> None:
    """Measure this machine's disk, memory and kernels, so that plans fit it."""
    from penstock.cli.probing import write_machine
    from penstock.cli.tables import print_machine
    from penstock.machine.probe import Probe

    what = Probe(asked.device, str(asked.disk), asked.threads, asked.seconds, asked.quick)
    path, machine = write_machine(what, asked.output, _tell)
    _print_json(machine)
    print_machine(machine)
    _tell(f"kept in {path}")


@app.command()
def doctor(
    disk: Annotated[Path, typer.Option(help="Folder on the disk to look at.")] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="JSON, also on a terminal.")] = False,
) -> None:
    """Show what this machine offers, what Penstock uses of it, and what is missing."""
    from penstock.cli.tables import print_findings
    from penstock.machine.doctor import examine

    found = examine(disk)
    if as_json or not sys.stdout.isatty():
        _print_json(found)
    else:
        print_findings(found)


@app.command()
@flattened
def quantize(model: Model, engine: EngineArgs) -> None:
    """Pack weights once into the cache (--weights int8, int4, ...) and say where they are."""
    from penstock.engine.native import description, native_core
    from penstock.engine.opening import Listener, open_engine
    from penstock.engine.workload import Workload

    if engine.weights == "auto":
        raise InvalidArgumentError("weights: quantize needs a format, as int4", field="weights")
    one_row = Workload.uniform(1, 1, 1)
    settings = engine.settings(model)
    told = description(open_engine(native_core(), settings, one_row, listener=Listener(_doing)))
    folder = settings.cache or f"{settings.model}/.penstock"
    if settings.is_dummy:
        _tell("nothing is written of a model with random weights")
    else:
        told["cache"] = folder
        state = "are packed now" if told.get("packed_now") else "were packed before"
        _tell(f"the weights {state}; they are in {folder}")
    wanted = ("model", "weights", "parameters", "packed_now", "cache", "warnings")
    _print_json({name: told[name] for name in wanted if name in told})


@app.command()
@flattened
def bench(model: Model, workload: WorkloadArgs, engine: EngineArgs, how: BenchArgs) -> None:
    """Time a made-up workload (random prompts, no early end) and print one JSON object."""
    if how.materialise is not None:
        from penstock.cli.materialise import materialise as write

        _print_json(write(model, how.materialise, engine.seed))
        return
    from penstock.cli.bench import run_bench, scheduled_as
    from penstock.engine.measured import with_figures

    settings = engine.settings(model)
    if how.schedule:
        settings = scheduled_as(settings, how.schedule, workload.prompt_len)
    _warn_of_memory(settings)
    settings = with_figures(settings, _doing)
    correct = _recalibration(engine, settings) if how.recalibrate else None
    told = run_bench(settings, workload.workload(), tell=_doing)
    if correct is not None and told["prediction"]:
        correct(told)
    _print_json(told)


def _recalibration(
    engine: EngineArgs, settings: EngineSettings
) -> Callable[[dict[str, Any]], None]:
    """Corrects the machine file that the run is planned with; refused at once without one."""
    from penstock.engine.measured import place_of
    from penstock.machine.calibrate import correct_file, file_to_correct

    path = file_to_correct(engine.machine, place_of(settings).file)

    def correct(report: dict[str, Any]) -> None:
        correct_file(path, report)
        _tell(f"corrected {path}")

    return correct


@app.command("eval")
@flattened
def evaluate(
    model: Model,
    engine: EngineArgs,
    text: Annotated[Path, typer.Option(help="UTF-8 text file.")],
    context: Annotated[int, typer.Option(min=2, help="Tokens a window, BOS included.")] = 512,
    stride: Annotated[
        int, typer.Option(min=0, help="Tokens from window to window; 0: they do not overlap.")
    ] = 0,
) -> None:
    """Perplexity of a text, as one JSON object."""
    from penstock.cli.evaluate import Windows, perplexity
    from penstock.llm import LLM

    with LLM(model, **vars(engine)) as llm:
        _print_json(perplexity(llm, text, Windows(context, stride)))


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; the exit code. Refusals are one line on standard error."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except PenstockError as error:
        _tell(f"error: {error}")
        return exitcodes.of_refusal(error)
    except typer.Abort:
        return exitcodes.STOPPED
    except KeyboardInterrupt:
        return exitcodes.STOPPED
    except Exception as error:
        return _usage_or_internal(error)
    return code if isinstance(code, int) else exitcodes.OK


def _usage_or_internal(error: Exception) -> int:
    """Typer's own refusals are shown its way; anything else is a bug, with its traceback."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return exitcodes.REFUSED
    import traceback

    traceback.print_exception(error)
    return exitcodes.INTERNAL
