"""What the command line says: what it is doing, what it refuses, where results are."""

import json
import os
import pty
import subprocess
import sys

import pytest
from penstock.cli.tables import error_lines
from python.conftest import MODELS

MODEL = MODELS / "penstock-llama-5m"
ROWS = [{"id": i, "prompt": f"Row {i}", "max_tokens": 2} for i in range(3)]
PLAN = ("plan", MODEL, "--rows", 4)


def penstock(*words):
    command = [sys.executable, "-m", "penstock", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def job(folder, rows, *words):
    source, output = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return penstock("run", MODEL, "--input", source, "--output", output, *words)


def test_results_are_on_standard_output_and_the_rest_is_not():
    found = penstock(*PLAN)
    assert found.returncode == 0
    assert json.loads(found.stdout)["family"] == "llama"
    assert "planning: " in found.stderr


def test_a_plan_is_a_table_on_a_terminal():
    for words, is_json in (((), False), (("--json",), True)):
        parent, child = pty.openpty()
        command = [sys.executable, "-m", "penstock", *map(str, PLAN), *words]
        ended = subprocess.run(command, stdout=child, stderr=subprocess.PIPE, timeout=120)
        os.close(child)
        shown = os.read(parent, 1 << 16).decode()
        os.close(parent)
        assert ended.returncode == 0, ended.stderr
        assert shown.startswith("{") == is_json
        assert "max" in shown


def test_a_closed_pipe_ends_quietly():
    command = [sys.executable, "-m", "penstock", *map(str, PLAN)]
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr and "pipe" not in ended.stderr.lower()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--policy", '{"micro_batch":"x"}'), 'micro_batch: wrong type (found "x"'),
        (("--disk", "/proc", "--disk-memory", "1GB"), "no folder on a disk"),
        (("--disk", "/nowhere", "--disk-memory", "1GB"), "no folder '/nowhere'"),
        (("--disk", str(MODELS)), "needs disk_memory"),
        (("--disk-memory", "1GB"), "disk_memory: needs disk beside it"),
        (("--max-context", 513), "more than the model's context"),
    ],
)
def test_options_that_cannot_be_are_refused(words, said):
    found = penstock(*PLAN, *words)
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ["plan", "bench", "quantize", "eval", "run"])
def test_a_model_that_is_no_folder_is_refused_by_name(command, tmp_path):
    words = {"eval": ("--text", "x"), "quantize": ("--weights", "int4")}.get(command, ())
    words = ("--input", "x", "--output", tmp_path / "y") if command == "run" else words
    found = penstock(command, "some/model-125m", *words)
    allowed = "allowed: the folder of a downloaded Hugging Face model, or dummy:NAME"
    assert found.returncode == 2
    assert found.stderr == f"error: model: no folder 'some/model-125m'; {allowed}\n"
    found = penstock(command, tmp_path, *words)
    assert found.returncode == 2 and f"no config.json in '{tmp_path}'; {allowed}" in found.stderr


def test_more_memory_than_the_machine_has_is_warned_of(tmp_path):
    assert "warning: host_memory is 900.0 TiB" not in penstock(*PLAN).stderr
    found = penstock(*PLAN, "--host-memory", "900TiB")
    assert found.returncode == 0 and "warning: host_memory is 900.0 TiB" in found.stderr
    elsewhere = penstock(*PLAN, "--host-memory", "900TiB", "--machine", "t4")
    assert "warning" not in elsewhere.stderr
    disk = penstock(*PLAN, "--disk", tmp_path, "--disk-memory", "900TiB")
    assert disk.returncode == 0 and "warning: disk_memory is 900.0 TiB" in disk.stderr


def test_a_trace_or_report_that_cannot_be_written_is_refused_first(tmp_path):
    for name in ("trace", "report"):
        found = job(tmp_path, ROWS, f"--{name}", "/nowhere/t")
        assert found.returncode == 2
        assert found.stderr == f"error: {name}: /nowhere: no such folder\n"
    assert not (tmp_path / "out.jsonl").exists()


def test_a_limit_of_tokens_that_no_row_can_have(tmp_path):
    found = job(tmp_path, [{"id": 1, "prompt": "a"}], "--max-tokens", 512)
    assert found.returncode == 2
    assert "max_tokens: found 512, allowed: 1 to 511" in found.stderr


def test_many_refused_rows_end_a_job_before_the_model_is_looked_at(tmp_path):
    bad = [{"id": i, "prompt": "a", "temperature": -1} for i in range(120)]
    found = job(tmp_path, bad)
    assert found.returncode == 2
    assert "the first 100 rows are all refused" in found.stderr and "temperature" in found.stderr
    assert "loading" not in found.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert job(tmp_path, [*bad[:99], *ROWS[:1]]).returncode == 3


def test_failed_rows_are_summed_up_by_code(tmp_path):
    found = job(tmp_path, [*ROWS, {"id": 8}, {"id": 9, "prompt": 1}])
    assert found.returncode == 3
    assert "2 rows failed with invalid_argument; the first is line 4: the row has" in found.stderr
    one = {"errors": {"malformed": {"count": 1, "line": 7, "message": "m"}}}
    assert error_lines(one) == ["1 row failed with malformed, line 7: m"]
    assert error_lines({}) == []


def test_quantize_says_where_it_wrote(tmp_path):
    for state in ("are packed now", "were packed before"):
        found = penstock("quantize", MODEL, "--weights", "int4", "--cache", tmp_path)
        assert f"the weights {state}; they are in {tmp_path}" in found.stderr
        assert json.loads(found.stdout)["cache"] == str(tmp_path)
