"""Reports and machines as tables for people."""

from __future__ import annotations

from typing import Any

from penstock.job.progress import format_seconds
from penstock.util.sizes import format_size


def print_plan(plan: dict[str, Any]) -> None:
    """Prints a plan: what it is of, its memory by tier, and what it would take."""
    console = _console()
    table = _table("Plan", "", "")
    for name in ("model", "family", "isa", "weights", "kv", "compute", "max_context", "figures"):
        if name in plan:
            table.add_row(name.replace("_", " "), str(plan[name]))
    prediction = plan.get("prediction", {})
    if prediction:
        table.add_row("time", format_seconds(prediction["seconds"]))
        if "first_results_seconds" in prediction:
            first = format_seconds(prediction["first_results_seconds"])
            table.add_row("a tenth of the rows", first)
        table.add_row("generated", f"{prediction['tokens_per_second']:.1f} tokens/s")
    console.print(table)
    if prediction:
        memory = _table("Memory", "tier", "peak")
        for tier, peak in prediction["peak_bytes"].items():
            if peak:
                memory.add_row(tier, format_size(peak))
        console.print(memory)
        console.print(_what_if_table(prediction.get("what_if", [])))
    if plan.get("why"):
        console.print(plan["why"], highlight=False, markup=False)


def _what_if_table(changes: list[dict[str, Any]]) -> Any:
    table = _table("With", "", "tokens/s")
    for change in changes:
        table.add_row(change["change"], f"{change['tokens_per_second']:.1f}")
    return table


def error_lines(report: dict[str, Any]) -> list[str]:
    """Why rows failed: one sentence for each code, with an example."""
    lines = []
    for code, found in report.get("errors", {}).items():
        count, first = found["count"], f"line {found['line']}: {found['message']}"
        many = f"{count} rows failed with {code}; the first is {first}"
        lines.append(many if count > 1 else f"1 row failed with {code}, {first}")
    return lines


def _console(stderr: bool = False) -> Any:
    """A console of rich, that leaves a closed pipe to us."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Quiet(stderr=stderr)


def print_report(report: dict[str, Any]) -> None:
    """Prints summary, lanes and memory."""
    console = _console()
    rows = report["rows"]
    console.print(
        f"{rows['done']} of {rows['total']} rows ({rows['errors']} errors), "
        f"{report['generated_tokens']} tokens in {report['seconds']:.1f} s: "
        f"[bold]{report['tokens_per_second']:.1f} tokens/s[/bold]",
        highlight=False,
    )
    stats = report["stats"]
    if stats.get("lanes"):
        console.print(_lane_table(stats))
    if stats.get("peak_bytes"):
        console.print(_memory_table(stats, report["peak_rss_bytes"]))
        if report.get("prediction"):
            console.print(_prediction_table(report))


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _lane_table(stats: dict[str, Any]) -> Any:
    table = _table("Lanes", "lane", "busy s", "busy", "bytes", "predicted", "GB/s")
    seconds = stats["seconds"] or 1.0
    for name, lane in stats["lanes"].items():
        if not lane["tasks"]:
            continue
        busy, moved = lane["busy_seconds"], lane["bytes"]
        predicted = stats["predicted_bytes"].get(name)
        rate = f"{moved / busy / 1e9:.2f}" if moved and busy else ""
        table.add_row(
            *(name, f"{busy:.2f}", f"{busy / seconds:.0%}", format_size(moved) if moved else ""),
            *(format_size(predicted) if predicted else "", rate),
        )
    return table


def _memory_table(stats: dict[str, Any], rss: dict[str, int]) -> Any:
    table = _table("Memory", "tier", "peak", "budget", "used")
    for tier, peak in stats["peak_bytes"].items():
        budget = stats["budget_bytes"].get(tier, 0)
        if peak or budget:
            share = f"{peak / budget:.0%}" if budget else ""
            limit = format_size(budget) if budget else "none"
            table.add_row(tier, format_size(peak), limit, share)
    if rss.get("engine"):
        table.add_row("resident (engine process)", format_size(rss["engine"]), "", "")
    return table


def _prediction_table(report: dict[str, Any]) -> Any:
    """Predicted for the workload as it was planned for, and measured."""
    table = _table("Predicted", "", "predicted", "measured", "off")
    prediction, stats = report["prediction"], report["stats"]
    _compare(table, "tokens/s", prediction["tokens_per_second"], report["tokens_per_second"])
    for name, lane in prediction["lanes"].items():
        measured = stats["lanes"].get(name, {}).get("busy_seconds", 0.0)
        _compare(table, f"{name}, busy s", lane["seconds"], measured)
    for tier, peak in prediction["peak_bytes"].items():
        measured = stats["peak_bytes"].get(tier, 0)
        if peak or measured:
            off = f"{(measured / peak - 1):+.1%}" if peak else ""
            table.add_row(f"{tier}, peak", format_size(peak), format_size(measured), off)
    return table


def _compare(table: Any, name: str, predicted: float, measured: float) -> None:
    off = f"{(measured / predicted - 1):+.1%}" if predicted else ""
    table.add_row(name, f"{predicted:.3g}", f"{measured:.3g}", off)


_MEASURED = (
    ("disk, read", "disk_read_bytes_per_second"),
    ("disk, write", "disk_write_bytes_per_second"),
    ("memory, copy", "host_copy_bytes_per_second"),
    ("to the device", "h2d_bytes_per_second"),
    ("from the device", "d2h_bytes_per_second"),
)
_ATTENTION = (("attention", "attention"), ("attention on the host", "host_attention"))


def print_machine(machine: dict[str, Any]) -> None:
    """Prints what a probe measured on standard error; standard output is for its JSON."""
    table = _table("Measured", "", "rate", "spread")
    for cells in machine_rows(machine):
        table.add_row(*cells)
    _console(stderr=True).print(table)


def machine_rows(machine: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, rate and spread of each figure that was measured; a format's products in one row."""
    spread = machine.get("spread", {})
    rows = [
        (label, f"{machine[name] / 1e9:.2f} GB/s", f"±{spread[name]:.0%}")
        for label, name in _MEASURED
        if name in spread
    ]
    products: dict[str, list[dict[str, Any]]] = {}
    for rate in machine.get("gemm", []):
        products.setdefault(rate["format"], []).append(rate)
    for name, rates in products.items():
        text, counts = (
            _first_to_last([rate[field] for rate in rates], unit)
            for field, unit in (("flops_per_second", 1e9), ("rows", 1))
        )
        label = f"products, {name}, {counts} rows"
        rows.append((label, f"{text} Gflop/s", _at_most(spread, "gemm")))
    for label, name in _ATTENTION:
        if name == "host_attention" and machine.get(name) == machine.get("attention"):
            continue  # the processor is the device
        for rate in machine.get(name, []):
            text = f"{rate['bytes_per_second'] / 1e9:.2f} GB/s"
            rows.append((f"{label}, {rate['kv']}", text, _at_most(spread, name)))
    if "attention_flops_per_second" in spread:
        text = f"{machine['attention_flops_per_second'] / 1e9:.0f} Gflop/s"
        off = f"±{spread['attention_flops_per_second']:.0%}"
        rows.append(("attention, prompts", text, off))
    if "step_seconds" in spread:
        text = f"{machine['step_seconds'] * 1e6:.1f} us"
        rows.append(("a compute step", text, f"±{spread['step_seconds']:.0%}"))
    return rows


def _first_to_last(values: list[float], unit: float) -> str:
    ends = dict.fromkeys(f"{value / unit:.0f}" for value in (values[0], values[-1]))
    return " to ".join(ends)


def _at_most(spread: dict[str, float], name: str) -> str:
    """A list has one spread, its largest."""
    return f"up to ±{spread[name]:.0%}" if name in spread else ""


def print_findings(found: dict[str, Any]) -> None:
    """Prints what a doctor found on standard output."""
    from rich.console import Console

    table = _table(f"Penstock {found['version']}", "", "found")
    for cells in finding_rows(found):
        table.add_row(*cells)
    table.columns[1].justify, table.columns[1].no_wrap = "left", False
    console = Console(highlight=False)
    console.print(table)
    for problem in found["problems"]:
        console.print(f"- {problem['what']}\n  {problem['fix']}", markup=False)
    if not found["problems"]:
        console.print("Nothing is missing.")


def finding_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each finding."""
    processor, memory, disk = found["processor"], found["memory"], found["disk"]
    others = ", ".join(isa for isa in processor["isas"] if isa != processor["isa"])
    limit = memory["cgroup_limit_bytes"]
    rows = [
        ("processor", f"{processor['name']}, {processor['cores']} cores for this process"),
        ("kernels", f"{processor['isa'] or 'none'}" + (f" (also {others})" if others else "")),
        (
            "memory",
            f"{format_size(memory['total_bytes'])}, {format_size(memory['available_bytes'])} free",
        ),
        ("cgroup limit", format_size(limit) if limit else "none"),
        ("disk", _disk_text(disk)),
        ("GPU", _gpu_text(found["gpu"])),
        ("measured", found["machine_file"]["about"] or "no"),
        ("Python", f"{found['python']}, {found['system']}"),
    ]
    rows += [(name, version or "not installed") for name, version in found["packages"].items()]
    return rows


def _disk_text(disk: dict[str, Any]) -> str:
    if disk["missing"]:
        return f"{disk['folder']}: {disk['missing']}"
    rate = disk["read_bytes_per_second"]
    read = f", reads {rate / 1e9:.2f} GB/s" if rate else ""
    free = format_size(disk["free_bytes"])
    return f"{disk['folder']}: {disk['class']} ({disk['filesystem']}{read}), {free} free"


def _gpu_text(gpu: dict[str, Any]) -> str:
    cards = (f"{g['name']} ({g['capability']}, {format_size(g['memory'])})" for g in gpu["gpus"])
    return ", ".join(cards) or f"none: {gpu['missing']}"
