"""Tables of the page of results, each made from JSON files of one kind.

Every row names the processor and the day of its measurement, so rows of different machines stand
beside each other and are never mixed.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import floor, log10
from statistics import median
from typing import Any

Json = dict[str, Any]
Cells = list[str]

_GIB = 1 << 30
_FAMILIES = ("amx_tile", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")


@dataclass(frozen=True)
class Table:
    """Headings and rows; headings that begin with ``#`` are of figures and aligned right."""

    headings: Cells
    rows: list[Cells]

    def markdown(self) -> str:
        """The table as Markdown, or nothing when it has no rows."""
        if not self.rows:
            return ""
        names = [heading.removeprefix("#") for heading in self.headings]
        rules = ["---:" if heading.startswith("#") else "---" for heading in self.headings]
        lines = [f"| {' | '.join(names)} |", f"|{'|'.join(rules)}|"]
        return "\n".join(lines + [f"| {' | '.join(row)} |" for row in self.rows])


def figure(value: float, digits: int = 3) -> str:
    """A number with so many digits, never as a power of ten."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = digits - 1 - floor(log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def processor(machine: Json) -> str:
    """A short name: maker and model, with the model's number where the name has none."""
    name = re.sub(r"\((?:R|TM|tm)\)|\bCPU\b|@.*|\b\d+-Core\b|\bProcessor\b", " ", machine["cpu"])
    name = " ".join(name.split())
    return name if re.search(r"\d", name) else f"{name} model {machine['cpu_model']}"


def instructions(machine: Json) -> str:
    """The widest vector instructions that the processor has."""
    return next((shown for flag, shown in _FAMILIES if flag in machine["flags"]), "baseline")


def where(machine: Json, result: Json) -> Cells:
    """The last cells of a row."""
    return [processor(machine), str(result["date"])[:10]]


_WHERE = ["processor", "measured"]


def machines(results: Iterable[Json]) -> Table:
    """Every machine that some figure was measured on."""
    rows = set()
    for machine in (found for result in results for found in _machines_of(result)):
        memory = f"{machine['memory_bytes'] / _GIB:.1f} GiB"
        rows.add((processor(machine), instructions(machine), str(machine["cores"]), memory))
    return Table(
        ["processor", "widest vectors", "#cores used", "#memory"],
        [list(row) for row in sorted(rows)],
    )


def _machines_of(result: Json) -> list[Json]:
    pairs = [pair["machine"] for pair in result.get("pairs", [])]
    return [result["machine"], *pairs] if "machine" in result else pairs


# ---- models larger than memory -------------------------------------------------------------------


def throughput(results: list[Json]) -> Table:
    """One job under limits, ours and the peer's."""
    rows = [_own_throughput(one) for one in results if "measured" in one]
    rows += [_peer_throughput(one) for one in results if "extrapolated" in one]
    headings = ["engine", "weights, KV", "#limit", "#new tokens/s", "#disk busy"]
    return Table([*headings, "#of the peak: fp32, bf16, bf16 tiles", *_WHERE], rows)


def _own_throughput(one: Json) -> Cells:
    measured, engine = one["measured"], one["report"]["engine"]
    busy = measured["busy_seconds"]["disk_read"] / measured["sweep_seconds"]
    peaks = [measured.get(f"share_of_{name}_peak") for name in ("fp32", "bf16", "bf16_tile")]
    return [
        "Penstock",
        f"{engine['weights']}, {engine['kv']}",
        f"{figure(one['outcome']['limit_bytes'] / _GIB, 2)} GiB",
        figure(measured["tokens_per_second_whole_command"]),
        f"{busy:.0%}",
        ", ".join(f"{share:.2f}" for share in peaks if share),
        *where(one["machine"], one),
    ]


def _peer_throughput(one: Json) -> Cells:
    version = one["measured_peer"]["versions"]["accelerate"]
    return [
        f"Accelerate {version}, batch {one['batch']}",
        "bf16, bf16",
        f"{figure(one['outcome']['limit_bytes'] / _GIB, 2)} GiB",
        figure(one["extrapolated"]["tokens_per_second"]),
        "",
        "",
        *where(one["machine"], one),
    ]


def best_peer(results: list[Json]) -> float:
    """Tokens a second of the peer at its best batch."""
    return max(one["extrapolated"]["tokens_per_second"] for one in results if "extrapolated" in one)


def beside_llama(results: list[Json]) -> Table:
    """Decoding larger than memory: ours, llama.cpp's and Accelerate's at their best batch."""
    rows = []
    for one in results:
        for case in one["cases"]:
            given = case["case"]
            ours, theirs = best(case["ours"]), best(case["theirs"])
            peer = best(case.get("accelerate", []))
            rows.append(
                [
                    f"{'bf16' if given['weights'] == 'auto' else given['weights'] + '-g64'}, "
                    f"{given['gguf'].upper()}",
                    "16-bit" if given["kv"] == "auto" else "4-bit",
                    f"{given['limit_gib']} GiB",
                    f"{ours['batch']}, {theirs['batch']}",
                    f"{figure(ours['rate'])} / {figure(theirs['rate'])}",
                    figure(ours["rate"] / theirs["rate"], 2),
                    _rate_or_death(peer),
                    _share_of_peak(case),
                    *where(one["machine"], one),
                ]
            )
    headings = ["weights: ours, theirs", "caches", "#limit", "#batch: ours, theirs"]
    headings += ["#new tokens/s: ours / theirs", "#ratio", "#Accelerate, bf16"]
    return Table([*headings, "ours of the peak", *_WHERE], rows)


def best(runs: list[Json]) -> Json:
    """The fastest of some runs; {} when there are none."""
    return max(runs, key=lambda run: run["rate"], default={})


def _share_of_peak(case: Json) -> str:
    """The share of a peak that the script asks for, where it does."""
    name = case["case"].get("peak")
    shares = [c["value"] for c in case["criteria"] if c["what"].endswith(f"share of {name}")]
    return f"{shares[0]:.2f} of {name.removesuffix('_operations')}" if shares else ""


def _rate_or_death(run: Json) -> str:
    if not run:
        return ""
    return figure(run["rate"]) if run["rate"] else "killed by the limit"


def budgets(results: list[Json]) -> Table:
    """Budgets kept, and how far the lanes overlap."""
    rows = []
    for one in results:
        measured, job = one["measured"], one["job"]
        rows.append(
            [
                one["report"]["engine"]["weights"],
                job["policy"].strip("{}").replace('"', "") if job["policy"] != "auto" else "",
                f"{job['host_memory']} ({figure(job['limit_bytes'] / _GIB, 2)} GiB)",
                f"{measured['tracked_peak_bytes'] / _GIB:.3f} GiB",
                f"{measured['engine_peak_rss_bytes'] / _GIB:.3f} GiB",
                figure(measured["tokens_per_second_whole_command"], 2),
                f"{measured['sweeps_over_busiest']:.2f}",
                f"{measured['sweeps_over_busiest_of_each']:.2f}",
                f"{measured['disk_bytes_per_second_while_reading'] / 1e9:.2f} GB/s",
                f"{measured['disk_share_of_probe']:.2f}",
                *where(one["machine"], one),
            ]
        )
    headings = ["weights", "policy", "#budget (cgroup)", "#tracked peak", "#peak RSS"]
    headings += ["#new tokens/s", "#sweeps over busiest lane", "#each sweep over its busiest lane"]
    return Table([*headings, "#disk while reading", "#over the probe", *_WHERE], rows)


# ---- in memory -----------------------------------------------------------------------------------

_PEERS = {"q4_0": "llama.cpp Q4_0", "q8_0": "llama.cpp Q8_0", "bf16": "llama.cpp BF16"}
_PEERS |= {"transformers": "transformers bf16", "ctranslate2": "CTranslate2 int8"}
_OURS = {"auto": "bf16", "int4": "int4-g64"}


def in_memory(results: list[Json]) -> Table:
    """Whole models in RAM beside other engines."""
    pairs = [(one, pair) for one in results for pair in one["pairs"]]
    columns = sorted(
        {name for _, pair in pairs for name in pair["rates"]},
        key=lambda name: (name.split()[0] != "prefill", int(name.split()[1])),
    )
    rows = []
    for one, pair in pairs:
        job = one["job"]
        engines = [
            _OURS.get(pair["ours"], pair["ours"]),
            _PEERS.get(pair["theirs"], pair["theirs"]),
        ]
        rows.append(
            [
                pair["model"],
                ", ".join(engines),
                f"`{pair.get('device') or job['device']}`",
                f"{job['prompt']} + {job['new']}, {job['threads']}, {job['runs']}",
                *(_rates(pair["rates"].get(name)) for name in columns),
                *where(pair["machine"], one),
            ]
        )
    headings = ["model", "ours, theirs", "our device", "tokens, threads, runs"]
    return Table([*headings, *(f"#{c}" for c in columns), *_WHERE], rows)


def medians(rates: Json) -> tuple[float, float]:
    """Ours and theirs."""
    return median(rates["ours"]), median(rates["theirs"])


def _rates(rates: Json | None) -> str:
    if not rates:
        return ""
    ours, theirs = medians(rates)
    return f"{figure(ours)} / {figure(theirs)} = {figure(rates['ratio'], 2)}"


# ---- kernels -------------------------------------------------------------------------------------


def _kernel_table(
    results: list[Json], group: str, headings: Cells, cells: Callable[[Json], Cells]
) -> Table:
    rows = [
        [f"`{case['isa']}`", *cells(case), *where(one["machine"], one)]
        for one in results
        for case in one["groups"].get(group, {}).get("cases", [])
    ]
    return Table(["kernels", *headings, *_WHERE], rows)


def products(results: list[Json]) -> Table:
    """Products of many rows beside the peak of their instruction."""
    headings = ["weights", "#rows", "#GOP/s", "peak of", "#of the peak"]
    return _kernel_table(
        results,
        "products",
        headings,
        lambda case: [
            case["format"],
            str(case["m"]),
            figure(case["operations_per_second"] / 1e9),
            case["peak"],
            f"{case['of_peak']:.2f}",
        ],
    )


def vectors(results: list[Json]) -> Table:
    """One row: weights beside the read rate of memory."""
    return _kernel_table(
        results,
        "vectors",
        ["weights", "#weights read, GB/s", "#of the memory's rate"],
        lambda case: [
            case["format"],
            figure(case["weight_bytes_per_second"] / 1e9),
            f"{case['of_read']:.2f}",
        ],
    )


def attention(results: list[Json]) -> Table:
    """Decoding rows beside the read rate of memory, prompts beside the peaks of arithmetic."""
    headings = ["cache", "#heads, KV heads", "#query rows", "#keys", "#million keys/s"]
    headings += ["#of the memory's rate", "#of the fp32 peak", "#of the bf16 dot peak"]
    return _kernel_table(results, "attention", headings, _attention_cells)


def _attention_cells(case: Json) -> Cells:
    decodes = case["rows"] == 1
    peaks = ["" if decodes else _share(case, f"of_{name}_peak") for name in ("fma", "bf16_dot")]
    return [
        case["format"],
        f"{case['heads']}, {case['kv_heads']}",
        str(case["rows"]),
        str(case["keys"]),
        figure(case["keys_per_second"] / 1e6),
        f"{case['of_read']:.2f}" if decodes else "",
        *peaks,
    ]


def _share(case: Json, name: str) -> str:
    return f"{case[name]:.2f}" if name in case else ""


def rest(results: list[Json]) -> Table:
    """What a sweep spends outside products and attention."""
    return _kernel_table(
        results,
        "rest",
        ["weights", "#rows", "#greedy", "#drawn by top_k and top_p"],
        lambda case: [
            case["format"],
            str(case["m"]),
            f"{case['rest_share']:.1%}",
            f"{case['rest_share_drawn']:.1%}" if "rest_share_drawn" in case else "",
        ],
    )


def scaling(results: list[Json]) -> Table:
    """Several threads over one."""
    rows = []
    for one in results:
        cases = one["groups"].get("scaling", {}).get("cases", [])
        single = {(c["isa"], c["format"]): c["seconds"] for c in cases if c["threads"] == 1}
        for case in (case for case in cases if case["threads"] > 1):
            speed = single[case["isa"], case["format"]] / case["seconds"]
            shown = [f"`{case['isa']}`", case["format"], str(case["threads"]), f"{speed:.2f}"]
            rows.append([*shown, *where(one["machine"], one)])
    return Table(["kernels", "weights", "#threads", "#times as fast as one", *_WHERE], rows)


# ---- schedules and plans -------------------------------------------------------------------------


def shared_prefix(results: list[Json]) -> Table:
    """A few-shot job, with and without shared prefixes."""
    rows = []
    for one in results:
        job = one["job"]
        seconds = [median(run["seconds"] for run in one[way]) for way in ("without", "with")]
        tokens = [median(run["prompt_tokens"] for run in one[way]) for way in ("without", "with")]
        rows.append(
            [
                f"{job['rows']} rows, {job['header']} common and {job['own']} own tokens",
                f"{figure(seconds[0])} / {figure(seconds[1])}",
                f"{seconds[1] / seconds[0]:.2f}",
                f"{tokens[1] / tokens[0]:.2f}",
                *where(one["machine"], one),
            ]
        )
    headings = ["job", "#seconds: without / with", "#share of the seconds"]
    return Table([*headings, "#share of the prompt tokens computed", *_WHERE], rows)


def schedules(results: list[Json]) -> Table:
    """Our schedule beside others on the same modelled links."""
    rows = []
    for one in results:
        for comparison in one["comparisons"].values():
            ours = comparison["runs"]["ours"]
            for name, run in comparison["runs"].items():
                if name == "ours":
                    continue
                rows.append(
                    [
                        comparison["about"],
                        name,
                        f"{figure(ours['tokens_per_second'])} / {figure(run['tokens_per_second'])}",
                        f"{ours['tokens_per_second'] / run['tokens_per_second']:.2f}",
                        f"{ours['seconds_over_busiest']:.2f} / {run['seconds_over_busiest']:.2f}",
                        *where(one["machine"], one),
                    ]
                )
    headings = ["job", "beside", "#tokens/s: ours / theirs", "#ratio"]
    return Table([*headings, "#seconds over busiest lane: ours / theirs", *_WHERE], rows)


def accuracy(results: list[Json]) -> Table:
    """How far measured rates lie from predicted ones."""
    rows = []
    for one in results:
        off = [abs(run["off"]) for run in one["runs"]]
        shapes = sorted({run["case"]["shape"] for run in one["runs"]})
        equal = sum(run["bytes_agree"] for run in one["runs"])
        shown = [str(len(off)), ", ".join(shapes), f"{max(off):.1%}", f"{median(off):.1%}"]
        rows.append([*shown, f"{equal} of {len(off)}", *where(one["machine"], one)])
    headings = ["#plans", "shapes", "#largest difference", "#median difference"]
    return Table([*headings, "#bytes equal", *_WHERE], rows)


def choices(results: list[Json]) -> Table:
    """The planner's choice beside the best of a grid."""
    rows = []
    for one in results:
        for job in one["jobs"].values():
            medians = dict(job["median_seconds"])
            choice = medians.pop("choice")
            predicted = job["predicted_seconds"]
            off = max(abs(job["median_seconds"][name] / predicted[name] - 1) for name in predicted)
            rows.append(
                [
                    job["about"],
                    str(job["grid"]),
                    figure(job["solving_seconds"], 2),
                    f"{choice:.2f}",
                    f"{min(medians.values()):.2f}",
                    f"{off:.1%}",
                    *where(one["machine"], one),
                ]
            )
    headings = ["job", "#policies ranked", "#seconds to choose", "#seconds of the choice"]
    headings += ["#of the best of the grid", "#largest difference from the prediction"]
    return Table([*headings, *_WHERE], rows)


def anchors(results: list[Json]) -> Table:
    """Published cases, simulated."""
    rows = []
    for one in results:
        for case in one["cases"]:
            given = case["case"]
            ways = [case[way]["tokens_per_second"] for way in ("as_flexgen", "ours_block", "ours")]
            rows.append(
                [
                    given["model"],
                    f"{given['prompt']}/{given['new']}",
                    "4" if given["compressed"] else "16",
                    f"{given['published']}",
                    *(f"{figure(way)} ({way / given['published']:.2f})" for way in ways),
                    *where(one["machine"], one),
                ]
            )
    headings = ["model", "job", "#bits", "#published", "#as FlexGen", "#ours, its block"]
    return Table([*headings, "#ours, 1000 rows", "simulated on", "on"], rows)


def perplexity(results: list[Json]) -> Table:
    """Perplexity by formats, and its change from the published ones."""
    rows = []
    for one in results:
        for name, measured in one["models"].items():
            for run in measured:
                exact = run["asked"]["compute"] == "exact"
                activations = "fp32" if exact else run["weights"].replace("int4-g64", "int8")
                shown = [name, run["weights"], activations, run["kv"]]
                shown += [f"{run['perplexity']:.3f}", f"{round(run['change'], 4) + 0.0:+.2%}"]
                rows.append([*shown, *where(one["machine"], one)])
    headings = ["model", "weights", "activations", "KV", "#perplexity", "#change"]
    return Table([*headings, *_WHERE], rows)


# ---- what was wanted -----------------------------------------------------------------------------


def missed(results: list[Json]) -> Table:
    """The criteria of the scripts that were not met."""
    rows = []
    for one in results:
        for machine, criterion in _criteria(one):
            if criterion["met"]:
                continue
            wanted = "at_most" if "at_most" in criterion else "at_least"
            bound = f"{wanted.replace('_', ' ')} {criterion[wanted]:g}"
            shown = [one["name"], criterion["what"], figure(criterion["value"]), bound]
            rows.append([*shown, *where(machine, one)])
    return Table(["file", "figure", "#reached", "#wanted", *_WHERE], rows)


def _criteria(one: Json) -> list[tuple[Json, Json]]:
    machine = one.get("machine", {})
    found = [(machine, each) for each in one.get("criteria", []) if machine]
    for pair in one.get("pairs", []):
        name = f"{pair['ours']} against {pair['theirs']}: "
        found += [(pair["machine"], c) for c in one["criteria"] if c["what"].startswith(name)]
    for part in ("groups", "comparisons"):
        for each in one.get(part, {}).values():
            found += [(machine, criterion) for criterion in each.get("criteria", [])]
    for case in one.get("cases", []):
        found += [(machine, criterion) for criterion in case.get("criteria", [])]
    return found
