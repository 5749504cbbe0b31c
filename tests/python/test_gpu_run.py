"""The script that runs everything on a GPU, as far as it goes without one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "gpu" / "run_all.sh"


@pytest.fixture
def run(tmp_path: Path):
    """Runs the script where nvidia-smi finds no GPU; what it ends with, and what it says."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tools / "nvidia-smi").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if "PENSTOCK" not in name}
    environment = {**kept, "PATH": f"{tools}:{kept['PATH']}", "OUT": str(tmp_path / "out")}

    def call(*words: str) -> tuple[int, str]:
        result = subprocess.run(
            ["bash", str(SCRIPT), *words], env=environment, capture_output=True, text=True
        )
        return result.returncode, result.stdout + result.stderr

    return call


@pytest.mark.parametrize("stage", ["test", "sanitize", "kernels", "offload", "large"])
def test_without_a_gpu_a_stage_says_so_and_fails(run, tmp_path: Path, stage: str) -> None:
    status, said = run(stage)
    assert status == 1
    assert "no GPU: nvidia-smi finds none" in said
    assert f"| {stage} " in said.splitlines()[-1]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary[0]["stage"] == stage
    assert summary[0]["outcome"].startswith("failed")


def test_a_later_stage_still_runs(run) -> None:
    status, said = run("sanitize", "test")
    assert status == 1
    assert [line.split()[1] for line in said.splitlines()[-2:]] == ["sanitize", "test"]


def test_what_is_no_stage_is_refused(run) -> None:
    status, said = run("tset")
    assert status == 1
    assert "no such stage: tset" in said
    assert run("--fast")[0] == 1


def test_the_table_tells_of_what_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "stages.jsonl").write_text(
        '{"stage": "test", "status": "cut off", "seconds": 330}\n'
    )
    parts = {
        "test_kernels-0": ("[       OK ] A.B (1 ms)\n[  FAILED  ] A.C (2 ms)\n", "1"),
        "test_kernels-1": ("[       OK ] A.D (1 ms)\n", None),
        "python-oracle": ("tests/a.py::test_b PASSED [ 50%]\n", "0"),
    }
    (tmp_path / "test").mkdir()
    for name, (text, status) in parts.items():
        log = tmp_path / "test" / f"{name}.log"
        log.write_text(text)
        if status is not None:
            (tmp_path / "test" / f"{name}.log.status").write_text(status)
    summary = SCRIPT.parent / "summary.py"
    result = subprocess.run(
        ["python3", str(summary), str(tmp_path)], capture_output=True, text=True
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()]
    assert ["test", "whole stage", "cut off, 330 s"] in rows
    assert ["test", "test_kernels", "2 passed, 1 failed (cut off, exit status 1)"] in rows
    assert ["test", "python-oracle", "1 passed, 0 failed"] in rows
