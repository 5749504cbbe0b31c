"""The machine's figures: measured, kept, and read by engines when they plan."""

import json
import platform
import re
import subprocess
import sys

import pytest
from penstock import LLM
from penstock.cli.probing import write_machine
from penstock.cli.tables import machine_rows
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError, NotFoundError, PenstockError
from penstock.machine.facts import machine_facts
from penstock.machine.probe import Probe, measure_machine
from penstock.machine.shipped import shipped_machine, shipped_machines
from penstock.settings import EngineSettings
from penstock.util.config import machine_file, named_machine_file
from python.conftest import MODELS

MODEL = MODELS / "penstock-opt-5m"
QUICK = {"gemm": [{"format": "bf16", "rows": 64, "flops_per_second": 4e11}]}


class FakeCore:
    """A native module whose probe tells what it was asked."""

    class ProbeOptions:
        pass

    @staticmethod
    def probe_machine(options):
        options.progress("disk")
        fields = {"version": 1, "about": f"{options.device} {options.threads} {options.disk}"}
        wrote = getattr(options, "disk_bytes", 0)
        read = {"disk_read_bytes_per_second": options.seconds}
        return json.dumps({**fields, **read, "disk_write_bytes_per_second": wrote})


def test_probe_passes_what_was_asked_and_dates_it():
    heard = []
    machine = measure_machine(Probe("cpu:avx2", "/somewhere", 3, 7.0), heard.append, FakeCore())
    assert machine["about"].startswith("cpu:avx2 3 /somewhere, ")
    assert re.search(r", 20\d\d-\d\d-\d\d \d\d:\d\d UTC$", machine["about"])
    assert machine["disk_read_bytes_per_second"] == 7.0
    assert heard == ["disk"]
    for fact in (machine_facts()["cpu"], f"Linux {platform.release()}"):
        assert fact in machine["about"]


def test_a_quick_probe_asks_for_less():
    asked = Probe(disk="/somewhere", seconds=30.0, quick=True)
    machine = measure_machine(asked, lambda _: None, FakeCore())
    assert machine["disk_read_bytes_per_second"] == 5.0
    assert machine["disk_write_bytes_per_second"] == 128 << 20


def test_the_table_tells_what_was_measured_and_how_far_apart_the_rounds_were():
    machine = {
        "disk_read_bytes_per_second": 2.5e9,
        "h2d_bytes_per_second": 1e10,
        "step_seconds": 1.5e-5,
        "attention_flops_per_second": 5e10,
        "gemm": [
            {"format": "bf16", "rows": 1, "flops_per_second": 9e9},
            {"format": "bf16", "rows": 64, "flops_per_second": 2.74e11},
        ],
        "attention": [{"kv": "bf16", "bytes_per_second": 4.7e9}],
        "host_attention": [{"kv": "bf16", "bytes_per_second": 3e9}],
        "spread": {"disk_read_bytes_per_second": 0.07, "gemm": 0.03, "attention": 0.5},
    }
    assert machine_rows(machine) == [
        ("disk, read", "2.50 GB/s", "±7%"),
        ("products, bf16, 1 to 64 rows", "9 to 274 Gflop/s", "up to ±3%"),
        ("attention, bf16", "4.70 GB/s", "up to ±50%"),
        ("attention on the host, bf16", "3.00 GB/s", ""),
    ]
    machine["host_attention"] = machine["attention"]  # no accelerator
    machine["spread"].update(step_seconds=0.1, attention_flops_per_second=0.2)
    assert machine_rows(machine)[3:] == [
        ("attention, prompts", "50 Gflop/s", "±20%"),
        ("a compute step", "15.0 us", "±10%"),
    ]


def test_auto_reads_the_kept_figures_and_nothing_when_there_are_none(monkeypatch, tmp_path):
    assert EngineSettings.make("dummy:m").machine == ""
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(QUICK))
    monkeypatch.setenv("PENSTOCK_MACHINE", str(kept))
    assert named_machine_file() == machine_file("of a place") == kept
    assert json.loads(EngineSettings.make("dummy:m").machine) == QUICK
    assert EngineSettings.make("dummy:m", machine="{}").machine == "{}"
    assert json.loads(EngineSettings.make("dummy:m", machine=QUICK).machine) == QUICK


def test_a_missing_or_wrong_machine_is_refused_by_name():
    with pytest.raises(NotFoundError, match="machine: no file 'nowhere'"):
        EngineSettings.make("dummy:m", machine="nowhere")
    for wrong, field in (
        ({"version": 2}, "version"),
        ({"speed": 1}, "speed"),
        ({"spread": {"speed": 0.1}}, "spread.speed"),
    ):
        with (
            LLM(MODEL, host_memory="64MiB", machine=wrong) as llm,
            pytest.raises(InvalidArgumentError) as caught,
        ):
            llm.plan()
        assert caught.value.field == field


def test_the_plan_follows_the_machine():
    slow_disk = {"disk_read_bytes_per_second": 1e6}
    fast_disk = {"disk_read_bytes_per_second": 1e12}
    why = []
    for disk in (slow_disk, fast_disk):
        with LLM(MODEL, host_memory="7MiB", threads=1, machine={**QUICK, **disk}) as llm:
            why.append(llm.plan(Workload.uniform(64, 32, 32))["why"])
    assert why[0].startswith("disk_read bound")
    assert why[1].startswith("compute bound")


def test_a_probe_that_cannot_write_to_the_disk_is_refused(tmp_path):
    with pytest.raises(PenstockError, match="missing"):
        write_machine(Probe(disk=str(tmp_path / "missing")), tmp_path / "m.json", lambda _: None)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", "/proc"):  # not a folder; one that takes no files
        with pytest.raises(PenstockError, match=str(folder)):
            write_machine(Probe(disk=str(folder), quick=True), tmp_path / "m.json", lambda _: None)
    assert not (tmp_path / "m.json").exists()


def test_the_command_measures_and_keeps(tmp_path):
    output = tmp_path / "figures" / "machine.json"
    words = ("probe", "--seconds", "1", "--quick", "--disk", tmp_path)
    command = [sys.executable, "-m", "penstock", *words]
    found = subprocess.run(
        [*map(str, command), "--output", str(output)], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    machine = json.loads(output.read_text())
    assert json.loads(found.stdout) == machine
    assert {rate["format"] for rate in machine["gemm"]} >= {"fp32", "bf16", "int8", "int4-g64"}
    assert "products, bf16" in found.stderr
    assert "spread" in found.stderr and "a compute step" in found.stderr
    assert set(machine["spread"]) >= {"gemm", "attention", "disk_read_bytes_per_second"}
    assert machine["step_seconds"] > 0 and machine["attention_flops_per_second"] > 0
    assert machine["host_attention"] == machine["attention"]  # the processor is the device
    assert list(tmp_path.rglob("*")) == [output.parent, output]  # nothing else is left
    with LLM(MODEL, host_memory="64MiB", machine=output) as llm:
        assert llm.plan(Workload.uniform(4, 8, 8))["why"]


def test_a_shipped_machine_is_taken_by_name(monkeypatch, tmp_path):
    assert shipped_machines() == ["h200", "laptop", "rtx4090", "t4"]
    for name in shipped_machines():
        machine = json.loads(EngineSettings.make("dummy:m", machine=name).machine)
        assert machine["version"] == 1 and "docs/machines.md" in machine["about"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t4").write_text("{}")
    assert "T4" in json.loads(EngineSettings.make("dummy:m", machine="t4").machine)["about"]
    assert EngineSettings.make("dummy:m", machine="./t4").machine == "{}"


def test_neither_a_file_nor_a_shipped_name_is_refused_with_the_names():
    for wrong in ("T5", "../machines/t4", "t4.json", "__init__"):
        with pytest.raises(NotFoundError, match="h200, laptop, rtx4090, t4") as caught:
            EngineSettings.make("dummy:m", machine=wrong)
        assert (caught.value.field, caught.value.file) == ("machine", wrong)


def test_more_rows_are_never_slower_per_row_nor_faster_per_launch():
    for name in shipped_machines():
        machine = json.loads(shipped_machine(name))
        assert all(rate > 0 for key, rate in machine.items() if key.endswith("_per_second"))
        formats = {rate["format"] for rate in machine["gemm"]}
        assert formats >= {"fp16", "bf16", "int8", "int4-g64"}
        for format in formats:
            rates = [r for r in machine["gemm"] if r["format"] == format]
            assert [r["rows"] for r in rates] == [1, 16, 64, 256, 1024, 4096]
            flops = [r["flops_per_second"] for r in rates]
            seconds = [r["rows"] / r["flops_per_second"] for r in rates]
            assert flops == sorted(flops)
            assert all(b >= a * 0.999 for a, b in zip(seconds, seconds[1:], strict=False))


def test_shipped_files_are_what_the_tool_writes(tmp_path):
    tool = MODELS.parent / "tools" / "machine_files.py"
    subprocess.run([sys.executable, str(tool), "--folder", str(tmp_path)], check=True, timeout=60)
    written = {path.stem: path.read_text() for path in tmp_path.glob("*.json")}
    assert written == {name: shipped_machine(name) for name in shipped_machines()}
