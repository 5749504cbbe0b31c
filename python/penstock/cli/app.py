"""The command line: ``penstock run``, ``plan``, ``probe``, ``doctor`` and the other commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from penstock.cli.options import (
    BenchArgs,
    DoctorArgs,
    EngineArgs,
    EvalArgs,
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

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model: a Hugging Face folder, or dummy:NAME.")
]


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
    if not is_for_this_machine:
        return
    has = machine_facts()["memory_bytes"]
    if settings.host_memory > has:
        asked = format_size(settings.host_memory)
        _tell(f"warning: host_memory is {asked}, and this machine has {format_size(has)}")
    free = shutil.disk_usage(settings.disk).free if settings.disk else 0
    if settings.disk_memory > free:
        asked, left = format_size(settings.disk_memory), format_size(free)
        _tell(f"warning: disk_memory is {asked}, and {settings.disk} has {left} free")


@app.command(epilog=exitcodes.HELP)
@flattened
def run(model: Model, job: JobArgs, engine: EngineArgs, sampling: SamplingArgs) -> None:
    """Complete or score every row of a JSONL file.

    A row is {"id", "prompt"}, {"id", "messages"}, {"id", "prompt", "score": true} or a line of an
    OpenAI batch file. A prompt is text or token ids. Sampling parameters may stand in the row.
    Records are written as rows finish. The same command continues a job that was stopped or
    killed. It does nothing for a job that is complete.
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

    This needs config.json alone. It prints a table on a terminal, and JSON elsewhere.
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
        brief = {name: value for name, value in found["prediction"].items() if name != "sweep"}
        found = {**found, "prediction": brief}
    if page.json or not sys.stdout.isatty():
        _print_json(found)
    else:
        with quiet_pipe():
            print_plan(found)


@app.command()
@flattened
def probe(asked: ProbeArgs) -> None:
    """Measure this machine, so that plans fit it: its disk, its memory and its kernels."""
    from penstock.cli.probing import write_machine
    from penstock.cli.tables import print_machine
    from penstock.machine.probe import Probe

    what = Probe(asked.device, str(asked.disk), asked.threads, asked.seconds, asked.quick)
    path, machine = write_machine(what, asked.output, _tell)
    _print_json(machine)
    print_machine(machine)
    _tell(f"kept in {path}")


@app.command()
@flattened
def doctor(asked: DoctorArgs) -> None:
    """Show what this machine offers, what Penstock uses of it, and what is missing."""
    from penstock.cli.tables import print_findings
    from penstock.machine.doctor import examine

    found = examine(asked.disk)
    if asked.as_json or not sys.stdout.isatty():
        _print_json(found)
    else:
        print_findings(found)


@app.command()
@flattened
def quantize(model: Model, engine: EngineArgs) -> None:
    """Pack the weights into the cache, before a job does: --weights int8, int4 and others."""
    from penstock.engine.native import description, native_core
    from penstock.engine.opening import Listener, open_engine
    from penstock.engine.workload import Workload

    if engine.weights == "auto":
        raise InvalidArgumentError("weights: quantize needs a format, as int4", field="weights")
    one_row = Workload.uniform(1, 1, 1)
    settings = engine.settings(model)
    listener = Listener.of(_doing)
    about = description(open_engine(native_core(), settings, one_row, listener=listener))
    folder = settings.cache or f"{settings.model}/.penstock"
    if settings.is_dummy:
        _tell("nothing is written of a model with random weights")
    else:
        about["cache"] = folder
        state = "are packed now" if about.get("packed_now") else "were packed before"
        _tell(f"the weights {state}; they are in {folder}")
    wanted = ("model", "weights", "parameters", "packed_now", "cache", "warnings")
    _print_json({name: about[name] for name in wanted if name in about})


@app.command()
@flattened
def bench(model: Model, workload: WorkloadArgs, engine: EngineArgs, how: BenchArgs) -> None:
    """Time a made-up workload of random prompts, and print one JSON object."""
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
    report = run_bench(settings, workload.workload(), tell=_doing)
    if correct is not None and report["prediction"]:
        correct(report)
    _print_json(report)


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
def evaluate(model: Model, asked: EvalArgs, engine: EngineArgs) -> None:
    """Measure the perplexity of a text, and print one JSON object."""
    from penstock.cli.evaluate import Windows, perplexity
    from penstock.llm import LLM

    windows = Windows(asked.context, asked.stride)
    with LLM(model, **vars(engine)) as llm:
        _print_json(perplexity(llm, asked.text, windows, use_tqdm=True))


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
