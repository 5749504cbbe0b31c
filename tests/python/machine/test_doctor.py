"""What `penstock doctor` finds, how it shows it, and what it says is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import penstock
import pytest
from penstock.cli.tables import finding_rows, print_findings
from penstock.machine import doctor
from penstock.machine.disk_class import disk_facts, filesystem_of, read_rate

KEYS = "version python system processor memory disk gpu machine_file packages problems"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the command prints where it is piped."""
    command = [sys.executable, "-m", "penstock", "doctor", "--disk", str(Path.cwd())]
    never = str(tmp_path_factory.mktemp("cache") / "machine.json")
    environment = {**os.environ, "PENSTOCK_MACHINE": never}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_piped_it_is_json_that_names_everything(found):
    assert list(found) == KEYS.split()
    assert found["version"] == penstock.__version__
    assert found["processor"]["isa"] == found["processor"]["isas"][0]
    assert "portable" in found["processor"]["isas"]
    assert 0 < found["memory"]["available_bytes"] <= found["memory"]["total_bytes"]
    assert found["disk"]["folder"] == str(Path.cwd())
    assert found["gpu"]["gpus"] or found["gpu"]["missing"]
    for name in ("numpy", "tokenizers", "jinja2", "highspy", "typer", "rich"):
        assert found["packages"][name]


def test_without_figures_of_the_machine_the_probe_is_named(found):
    fixes = [problem["fix"] for problem in found["problems"]]
    assert any(fix.startswith("penstock probe --disk") for fix in fixes)


def test_the_table_shows_each_finding(found, capsys):
    print_findings(found)
    shown = capsys.readouterr().out
    assert found["processor"]["name"] in shown and found["version"] in shown
    for problem in found["problems"]:
        assert problem["fix"] in shown.replace("\n", " ").replace("  ", " ")
    print_findings({**found, "problems": []})
    assert "Nothing is missing" in capsys.readouterr().out


def test_a_build_that_this_processor_cannot_run_is_reported(tmp_path, monkeypatch):
    die = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    monkeypatch.setattr(doctor, "module_command", lambda _: [sys.executable, "-c", die])
    found = doctor.examine(tmp_path)
    assert "lacks an instruction of this build" in found["problems"][0]["what"]
    assert dict(finding_rows(found))["kernels"] == "none"


def test_a_module_that_cannot_be_loaded_is_reported(tmp_path, monkeypatch):
    fail = "raise SystemExit('no such symbol')"
    monkeypatch.setattr(doctor, "module_command", lambda _: [sys.executable, "-c", fail])
    assert "no such symbol" in doctor.examine(tmp_path)["problems"][0]["what"]


def test_missing_packages_have_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_packages", lambda: {"highspy": None, "numpy": "2.0"})
    problems = doctor.examine(tmp_path)["problems"]
    assert {"what": "the package highspy is missing", "fix": "pip install highspy"} in problems


def test_a_disk_is_measured_and_leaves_no_file(tmp_path):
    facts = disk_facts(tmp_path)
    assert facts["free_bytes"] > 0 and facts["filesystem"]
    assert facts["class"] in ("fast", "medium", "slow", "memory", "network")
    assert read_rate(tmp_path) > 0
    assert os.listdir(tmp_path) == []


def test_what_is_no_disk_is_reported(tmp_path):
    assert "no such folder" in disk_facts(tmp_path / "none")["missing"]
    assert disk_facts(Path("/proc"))["missing"] == "proc is no disk"


def test_the_nearest_mount_is_the_file_system(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw\nb {tmp_path}/my\\040disk nfs4 rw\nc {tmp_path}/my tmpfs rw\n")
    assert filesystem_of(tmp_path / "my disk" / "deep", mounts) == "nfs4"
    assert filesystem_of(tmp_path / "my", mounts) == "tmpfs"
    assert filesystem_of(tmp_path / "mine", mounts) == "ext4"
    assert filesystem_of(tmp_path, tmp_path / "no file") == ""
