"""The table of the engine's options: what each takes, its default, and what it does.

``EngineSettings`` checks values by it, the command line takes help and defaults from it, and
``docs/options.md`` is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

MEMORY, NUMBERS, CHOICE = "Memory", "Formats and compute", "Choosing tokens"


@dataclass(frozen=True)
class EngineOption:
    """One option. ``kind``: size, sizes, count, text, flag or json; ``most`` is of counts."""

    name: str
    kind: str
    group: str
    help: str
    default: str | int | bool = ""
    most: int = 0

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        name = self.name.replace("_", "-")
        return f"--no-{name}" if self.default is True else f"--{name}"

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        if self.kind == "count":
            return f"an integer, 0 to {self.most}"
        return {
            "size": "a size, as 4GiB",
            "sizes": "a size, or one for each device: 4GiB,8GiB",
            "text": "text",
            "flag": "true or false",
            "json": "JSON text, a JSON file, or a name",
        }[self.kind]


ENGINE_OPTIONS = (
    EngineOption(
        *("host_memory", "size", MEMORY),
        "The most memory that the engine takes. Default: most of what is free.",
    ),
    EngineOption(
        *("device_memory", "sizes", MEMORY),
        "The most memory of an accelerator that the engine takes. Default: most of what is free.",
    ),
    EngineOption(
        *("disk", "text", MEMORY),
        "Folder for KV caches and activations that do not fit in memory. Needs disk_memory.",
    ),
    EngineOption("disk_memory", "size", MEMORY, "The most bytes that are written to that folder."),
    EngineOption(
        *("cache", "text", MEMORY),
        "Folder for packed weights. Default: .penstock in the model's folder, or the user's cache.",
    ),
    EngineOption(
        *("max_context", "count", MEMORY),
        "The most tokens of a row, prompt and answer together. 0: what the model allows.",
        *(0, 1 << 30),
    ),
    EngineOption(
        *("policy", "json", MEMORY),
        "How the job runs: auto, or the fields that you want to set yourself.",
        "auto",
    ),
    EngineOption(
        *("machine", "json", MEMORY),
        "The machine to plan for: auto (as measured), t4, rtx4090, h200, laptop, or figures.",
        "auto",
    ),
    EngineOption(
        *("probe", "flag", MEMORY),
        "Measure this machine and disk once, in about 10 s. Off: rough built-in figures.",
        True,
    ),
    EngineOption(
        *("device", "text", NUMBERS),
        "What computes: cpu, cpu:avx2, virtual, cuda:0, or several in a row: cuda:0,cuda:1.",
        "cpu",
    ),
    EngineOption(
        *("weights", "text", NUMBERS),
        "Format of the weights: auto (as published), int8, int8-g64, int4, int4-g32 and others.",
        "auto",
    ),
    EngineOption(
        *("kv", "text", NUMBERS),
        "Format of keys and values: auto, fp32, fp16, bf16, int8 or int4.",
        "auto",
    ),
    EngineOption(
        *("compute", "text", NUMBERS),
        "How inputs meet quantised weights: fast (8 bits), weight_only (16 bits; CUDA) or exact.",
        "fast",
    ),
    EngineOption(
        *("invariant", "flag", NUMBERS),
        "A row's result does not depend on the rows beside it. Off: weight_only may use cuBLASLt.",
        True,
    ),
    EngineOption(
        *("threads", "count", NUMBERS), "Threads that compute. 0: one for each core.", *(0, 4096)
    ),
    EngineOption("pin_threads", "flag", NUMBERS, "Each compute thread stays on one core.", False),
    EngineOption(
        *("throttle", "json", NUMBERS), "Run as slowly as another machine: its rates as JSON."
    ),
    EngineOption("seed", "count", CHOICE, "Seed of all sampling.", *(0, (1 << 64) - 1)),
    EngineOption(
        *("special_tokens", "flag", CHOICE),
        "Special tokens in the text of a prompt count as such, not as plain text.",
        False,
    ),
)


def option_named(name: str) -> EngineOption:
    """The option of that name; it must be one."""
    return next(option for option in ENGINE_OPTIONS if option.name == name)


def options_of(kind: str) -> list[EngineOption]:
    """The options of one kind."""
    return [option for option in ENGINE_OPTIONS if option.kind == kind]


def markdown_table() -> str:
    """The options as tables for people, one for each group."""
    lines = []
    for group in (MEMORY, NUMBERS, CHOICE):
        lines += [f"## {group}", "", "| option | takes | default | |", "|---|---|---|---|"]
        for option in ENGINE_OPTIONS:
            if option.group == group:
                name = f"`{option.name}`, `{option.flag}`"
                default = str(option.default).lower() if option.default != "" else ""
                lines.append(f"| {name} | {option.takes} | {default} | {option.help} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
