"""The table of the commands' other options: sampling parameters, a job's files, the probe.

The command line takes help and defaults from it, and ``docs/options.md`` is made of it, as of the
table of the engine's options.
"""

from __future__ import annotations

from dataclasses import dataclass

SAMPLING, JOB, WORKLOAD = "Sampling parameters", "A job", "A made-up workload"
PLAN, BENCH, PROBE, EVAL, DOCTOR = "The plan", "The bench", "The probe", "A text", "The doctor"


@dataclass(frozen=True)
class CommandOption:
    """One option of a command. ``default``: None where leaving it out means something else."""

    group: str
    name: str
    takes: str
    default: str | int | float | bool | None
    help: str

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")


_JSON_FILE, _FLAG = "a JSON file", "nothing"

COMMAND_OPTIONS = (
    CommandOption(
        *(SAMPLING, "max_tokens", "an integer, 1 to 16777216", None),
        "The most tokens to generate. Default: 16. For messages: to the end of the context.",
    ),
    CommandOption(
        *(SAMPLING, "min_tokens", "an integer from 0", None),
        "The fewest tokens to generate. Default: 0.",
    ),
    CommandOption(
        *(SAMPLING, "temperature", "a number, 0 to 100", None),
        "How freely tokens are drawn. 0: always the most likely one. Default: 1.",
    ),
    CommandOption(
        *(SAMPLING, "top_k", "an integer", None),
        "Draw from the k most likely tokens. Default: 0, which is all of them.",
    ),
    CommandOption(
        *(SAMPLING, "top_p", "a number, over 0 to 1", None),
        "Draw from the most likely tokens that have this probability together. Default: 1.",
    ),
    CommandOption(
        *(SAMPLING, "min_p", "a number, 0 to 1", None),
        "Draw no token below this share of the most likely one's probability. Default: 0.",
    ),
    CommandOption(
        *(SAMPLING, "n", "an integer, 1 to 1024", None), "Answers to each row. Default: 1."
    ),
    CommandOption(
        *(SAMPLING, "stop", "text", None),
        "The answer ends before this text. The option may be repeated.",
    ),
    CommandOption(
        *(SAMPLING, "stop_token_ids", "a token id", None),
        "The answer ends at this token. The option may be repeated.",
    ),
    CommandOption(
        *(SAMPLING, "ignore_eos", _FLAG, None), "Go on after the model's end-of-text token."
    ),
    CommandOption(
        *(SAMPLING, "logprobs", "an integer, 0 to 64", None),
        "Give the log-probability of each token, and of the k most likely ones.",
    ),
    CommandOption(
        *(SAMPLING, "prompt_logprobs", _FLAG, None),
        "Give the log-probability of each token of the prompt.",
    ),
    CommandOption(
        *(SAMPLING, "presence_penalty", "a number, -2 to 2", None),
        "Taken off the logit of each token that was generated before. Default: 0.",
    ),
    CommandOption(
        *(SAMPLING, "frequency_penalty", "a number, -2 to 2", None),
        "The same, once for each time that it was generated. Default: 0.",
    ),
    CommandOption(
        *(SAMPLING, "repetition_penalty", "a number, over 0 to 100", None),
        "Above 1, tokens of the prompt and of the answer become less likely. Default: 1.",
    ),
    CommandOption(
        *(SAMPLING, "logit_bias", "JSON", None), 'Added to logits: {"token id": -100 to 100}.'
    ),
    CommandOption(
        *(SAMPLING, "allowed_token_ids", "a token id", None),
        "No other token is chosen. The option may be repeated.",
    ),
    CommandOption(JOB, "input", "a JSONL file", None, "The file of rows."),
    CommandOption(
        *(JOB, "output", "a JSONL file", None),
        "The file of records. Where it is begun, the job goes on.",
    ),
    CommandOption(JOB, "overwrite", _FLAG, False, "Begin anew. The old output is dropped."),
    CommandOption(JOB, "report", "a file", None, "Write what was measured to this file, as JSON."),
    CommandOption(JOB, "trace", "a file", None, "Write a trace to this file. Perfetto opens it."),
    CommandOption(
        *(JOB, "recalibrate", _FLAG, False), "Correct the machine file by what this run measures."
    ),
    CommandOption(WORKLOAD, "rows", "an integer from 1", 64, "How many rows there are."),
    CommandOption(WORKLOAD, "prompt_len", "an integer from 1", 32, "Tokens of each prompt."),
    CommandOption(WORKLOAD, "new", "an integer from 1", 32, "Tokens to generate for each row."),
    CommandOption(PLAN, "json", _FLAG, False, "Print JSON, on a terminal too."),
    CommandOption(PLAN, "html", "a file", None, "Write the plan to this file, as a page."),
    CommandOption(
        *(PLAN, "report", _JSON_FILE, None), "A report of penstock run, shown in the page."
    ),
    CommandOption(
        *(PLAN, "trace", _JSON_FILE, None), "A trace of penstock run. The page shows a sweep of it."
    ),
    CommandOption(
        *(BENCH, "materialise", "a folder", None),
        "Write the model dummy:NAME to this folder, and run nothing.",
    ),
    CommandOption(
        *(BENCH, "as", "flexgen", ""), "Schedule as another system does, for comparisons."
    ),
    CommandOption(
        *(BENCH, "recalibrate", _FLAG, False), "Correct the machine file by what this run measures."
    ),
    CommandOption(PROBE, "device", "text", "cpu", "What computes, as for penstock run."),
    CommandOption(PROBE, "disk", "a folder", ".", "A folder on the disk to measure."),
    CommandOption(
        PROBE, "threads", "an integer, 0 to 4096", 0, "Threads that compute. 0: one for each core."
    ),
    CommandOption(
        *(PROBE, "seconds", "a number, 1 to 3600", 30), "About how many seconds to measure for."
    ),
    CommandOption(PROBE, "quick", _FLAG, False, "Measure for 10 seconds. The figures are rougher."),
    CommandOption(
        *(PROBE, "output", "a file", None),
        "Where to keep the figures. Default: where penstock run looks for them.",
    ),
    CommandOption(EVAL, "text", "a UTF-8 file", None, "The text."),
    CommandOption(
        *(EVAL, "context", "an integer from 2", 512),
        "Tokens of each window, with the beginning-of-text token.",
    ),
    CommandOption(
        *(EVAL, "stride", "an integer from 0", 0),
        "Tokens from one window to the next. 0: windows do not overlap.",
    ),
    CommandOption(DOCTOR, "disk", "a folder", ".", "A folder on the disk to look at."),
    CommandOption(DOCTOR, "json", _FLAG, False, "Print JSON, on a terminal too."),
)


def command_option(group: str, name: str) -> CommandOption:
    """The option of that name; it must be one."""
    return next(o for o in COMMAND_OPTIONS if (o.group, o.name) == (group, name))


def command_tables() -> str:
    """The options as tables for people, one for each group."""
    lines = []
    for group, about in _ABOUT.items():
        lines += [
            f"## {group}",
            "",
            about,
            "",
            "| option | takes | default | |",
            "|---|---|---|---|",
        ]
        for option in COMMAND_OPTIONS:
            if option.group == group:
                default = "" if option.default in (None, "", False) else str(option.default)
                names = f"`{option.name}`, " if group == SAMPLING else ""
                cells = (f"{names}`{option.flag}`", option.takes, default, option.help)
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


_ABOUT = {
    SAMPLING: (
        "Fields of a row, keywords of `penstock.SamplingParams`, and options of `penstock run` for"
        " rows\nthat do not set them. `seed` of a row is its own; `--seed` is the job's."
    ),
    JOB: "Options of `penstock run`.",
    WORKLOAD: "Options of `penstock plan` and `penstock bench`.",
    PLAN: "Options of `penstock plan`.",
    BENCH: "Options of `penstock bench`.",
    PROBE: "Options of `penstock probe`.",
    EVAL: "Options of `penstock eval`.",
    DOCTOR: "Options of `penstock doctor`.",
}
