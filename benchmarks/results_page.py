"""Makes docs/results.md, and the table of figures in README.md, from the JSON of the results.

    python benchmarks/results_page.py           # writes both
    python benchmarks/results_page.py --check   # says what is out of date; exit code 1 if any is

Reads every file of benchmarks/results/. The beginning of a file's name says its kind; further files
of a known kind are further rows. Needs Python alone.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import result_tables as tables
from result_tables import Json, Table
from results import RESULTS

_ROOT = Path(__file__).resolve().parents[1]
PAGE, README = _ROOT / "docs" / "results.md", _ROOT / "README.md"
_BEGIN, _END = "<!-- figures: benchmarks/results_page.py -->", "<!-- end of figures -->"

_HEAD = """\
# Results

`python benchmarks/results_page.py` makes this page from the files of `benchmarks/results/`; do not
edit it. [measuring.md](measuring.md) says how each figure was measured. Every row names its
processor and the day. Compare only rows of one processor and one day: other machines give other
figures, and a shared machine is slower at some hours than at others. The weights are random unless
a model is named as trained. Nothing here was measured on a GPU.
"""


@dataclass(frozen=True)
class Part:
    """A table of a section, with a line before it."""

    table: Callable[[list[Json]], Table]
    before: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, the files it is made from, and its tables."""

    title: str
    files: tuple[str, ...]  # patterns of names without .json
    text: str
    parts: tuple[Part, ...]


SECTIONS = (
    Section(
        "A model larger than memory, beside Accelerate",
        ("throughput-*", "peer-*"),
        """\
OPT-6.7B's shape, 256 rows of 32 + 32 tokens, in a memory cgroup that counts the page cache. The
rate is of the whole command, start included. Accelerate is measured for a prefill and three steps
and extrapolated, in its favour. The shares are of the processor's peaks, measured in the same run.
""",
        (Part(tables.throughput),),
    ),
    Section(
        "A model larger than memory, beside llama.cpp",
        ("beside-llama-cpp*",),
        """\
Llama-7B's shape, decoding after a shared prompt, in a memory cgroup that counts the page cache.
llama.cpp maps its file. Each side runs at the batches that were tried, once each; the row has the
best of each side.
""",
        (Part(tables.beside_llama),),
    ),
    Section(
        "In memory, beside other engines",
        ("in-memory*",),
        """\
Tokens a second, ours / theirs = ratio. The shapes are those of the models named. Columns have the
phase and the batch: prefill of the whole prompt, and decoding alone. The engines take turns on the
same threads; figures are medians of the runs. An empty cell was not measured.
""",
        (Part(tables.in_memory),),
    ),
    Section(
        "Kernels beside the processor's peaks",
        ("kernels*",),
        """\
Each peak is a chain of the instruction named, in registers, on the same threads and in the same
run. Memory's rate is four streams of reads a thread. A share above 1 means that the kernel uses a
better instruction than the peak's. `avx2` on a wider processor is the AVX2 table by force.
""",
        (
            Part(tables.products, "Products of many rows with a matrix of 4096 x 4096:"),
            Part(tables.vectors, "One row with a matrix of 8192 x 8192:"),
            Part(
                tables.attention,
                "Attention. One query row is decoding; many are a prompt over itself:",
            ),
            Part(
                tables.rest,
                "Share of a decoding sweep that is neither product nor attention (a 1B shape):",
            ),
            Part(tables.scaling, "A product of 256 rows on several threads:"),
        ),
    ),
    Section(
        "Budgets, and how far lanes overlap",
        ("budget-*",),
        """\
OPT-6.7B's shape, 13.3 GB of fp16 weights, 64 rows of 32 + 32 tokens. Nothing was killed. A ratio
of 1 in "sweeps over busiest lane" means that one lane never waited during the job. In "each sweep
over its busiest lane" the lane may be another one in each sweep.
""",
        (Part(tables.budgets),),
    ),
    Section(
        "Shared prefixes",
        ("shared-prefix*",),
        "OPT-125M's shape in memory. Tokens are the same both ways.\n",
        (Part(tables.shared_prefix),),
    ),
    Section(
        "Schedules on modelled links",
        ("schedules*",),
        """\
One engine, on a virtual accelerator whose lanes are held to given rates. `flexgen` is FlexGen's
schedule, `block` admits rows in blocks. Rows of one job have the same KV memory.
""",
        (Part(tables.schedules),),
    ),
    Section(
        "Plans beside what happened",
        ("planner-accuracy*", "planner-choice*"),
        """\
Predicted beside measured tokens a second, over budgets from a tenth of the weights to all of them:
""",
        (
            Part(lambda results: tables.accuracy([one for one in results if "runs" in one])),
            Part(
                lambda results: tables.choices([one for one in results if "jobs" in one]),
                "The planner's choice beside the five best policies of a grid, on modelled links:",
            ),
        ),
    ),
    Section(
        "FlexGen's published cases, simulated",
        ("simulated-anchors*",),
        """\
New tokens a second, prompts included; in brackets over the published figure. Nothing was run: each
sweep is planned, built and timed on a machine file. [anchors.md](anchors.md) says how to read it.
""",
        (Part(tables.anchors),),
    ),
    Section(
        "Perplexity by formats",
        ("perplexity*",),
        """\
The two trained models in `models/`, on `tests/data/heldout.txt`. They are small and were trained
briefly ([tools/README.md](../tools/README.md)): they measure formats, not language.
""",
        (Part(tables.perplexity),),
    ),
)

# Its ratios are of files above; the tables have them too.
_DERIVED = ("comparison",)

_MISSED = """\
Figures that did not reach what the scripts ask for:
"""


def read(folder: Path) -> dict[str, Json]:
    """All results, by the names of their files; a file of no known kind is an error."""
    found = {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))
    }
    known = [pattern for section in SECTIONS for pattern in section.files] + list(_DERIVED)
    for name in found:
        if not any(fnmatch(name, pattern) for pattern in known):
            raise ValueError(f"{name}.json: of no known kind; known: {', '.join(known)}")
    return found


def page(results: dict[str, Json]) -> str:
    """The whole page."""
    parts = [_HEAD, "## Machines\n", tables.machines(results.values()).markdown() + "\n"]
    for section in SECTIONS:
        chosen = _of(results, *section.files)
        if chosen:
            parts += [f"## {section.title}\n", section.text, _sources(results, section.files)]
            parts += _tables(section, chosen)
    missed = tables.missed(list(results.values())).markdown()
    if missed:
        parts += ["## Not reached\n", _MISSED, missed + "\n"]
    return "\n".join(parts)


def _of(results: dict[str, Json], *patterns: str) -> list[Json]:
    return [one for name, one in results.items() if any(fnmatch(name, p) for p in patterns)]


def _sources(results: dict[str, Json], patterns: tuple[str, ...]) -> str:
    """One line for each file, since there may be many."""
    names = [name for name in results if any(fnmatch(name, p) for p in patterns)]
    lines = ["Files:"]
    for index, name in enumerate(names):
        word = f"`{name}.json`" + ("." if index == len(names) - 1 else ",")
        if len(lines[-1]) + 1 + len(word) > 100:
            lines.append(word)
        else:
            lines[-1] += " " + word
    return "\n".join(lines) + "\n"


def _tables(section: Section, chosen: list[Json]) -> list[str]:
    found = []
    for part in section.parts:
        shown = part.table(chosen).markdown()
        if shown:
            found += [part.before + "\n"] if part.before else []
            found.append(shown + "\n")
    return found


def figures(results: dict[str, Json]) -> Table:
    """The six figures of the README: what is best known, and one where we are behind."""
    bf16 = results["throughput-bf16"]
    ours = bf16["measured"]["tokens_per_second_whole_command"]
    rows = [
        [
            "OPT-6.7B in bf16, memory limit 6 GiB",
            "Accelerate, best batch",
            *_compared(ours, tables.best_peer(_of(results, "peer-*"))),
            *tables.where(bf16["machine"], bf16),
        ]
    ]
    llama = results["beside-llama-cpp"]
    for name, job in (
        ("16-bit, best batch", "Llama-7B in bf16, memory limit 6 GiB"),
        ("4-bit in 2 GiB, best batch", "Llama-7B in 4 bits, memory limit 2 GiB"),
    ):
        case = next(case for case in llama["cases"] if case["name"] == name)
        kind = case["case"]["gguf"].upper()
        rates = tables.best(case["ours"])["rate"], tables.best(case["theirs"])["rate"]
        shown = [job, f"llama.cpp {kind}, best batch", *_compared(*rates)]
        rows.append([*shown, *tables.where(llama["machine"], llama)])
    memory = results["in-memory"]
    pair = next(pair for pair in memory["pairs"] if pair["theirs"] == "q4_0")
    for name, job in (
        ("prefill 1", "Llama-3.2-1B in 4 bits, in memory: prompt of 512"),
        ("decode 32", "the same: decoding 32 rows"),
        ("decode 1", "the same: decoding 1 row"),
    ):
        rates = tables.medians(pair["rates"][name])
        shown = [job, "llama.cpp Q4_0", *_compared(*rates)]
        rows.append([*shown, *tables.where(pair["machine"], memory)])
    headings = ["job", "beside", "#tokens/s: ours / theirs", "#ratio", "processor", "measured"]
    return Table(headings, rows)


def _compared(ours: float, theirs: float) -> list[str]:
    return [f"{tables.figure(ours)} / {tables.figure(theirs)}", tables.figure(ours / theirs, 2)]


def readme(text: str, results: dict[str, Json]) -> str:
    """The README with the figures of today between its two marks."""
    before, _, rest = text.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError(f"README.md has no {_BEGIN} ... {_END}")
    return f"{before}{_BEGIN}\n{figures(results).markdown()}\n{_END}{after}"


def made(results: Path = RESULTS) -> dict[Path, str]:
    """What both documents have to hold."""
    found = read(results)
    return {PAGE: page(found), README: readme(README.read_text("utf-8"), found)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    check = parser.parse_args().check
    stale = False
    for path, wanted in made().items():
        text = path.read_text("utf-8") if path.exists() else ""
        if check and text != wanted:
            stale = True
            lines = text.splitlines(), wanted.splitlines()
            print("\n".join(difflib.unified_diff(*lines, str(path), "as it would be", lineterm="")))
        elif text != wanted:
            path.write_text(wanted, "utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
