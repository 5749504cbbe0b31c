"""A machine without figures is measured once, unasked; where that fails, plans say so."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from penstock import LLM
from penstock.engine.measured import place_of, with_figures
from penstock.engine.workload import Workload
from penstock.errors import PenstockError
from penstock.machine import once
from penstock.machine.place import Place
from penstock.settings import EngineSettings
from python.conftest import MODELS

MODEL = MODELS / "penstock-opt-5m"
FIGURES = {"version": 1, "about": "of a test", "disk_read_bytes_per_second": 3e9}
COUNTS = """
import json, pathlib, sys, time
with pathlib.Path(r"{log}").open("a") as log: log.write(sys.argv[-1] + "\\n")
time.sleep({seconds})
print(json.dumps({figures}))
"""


class Pretended:
    """A process in place of the probe; it notes what it was asked."""

    def __init__(self, folder, monkeypatch):
        self.log, self.monkeypatch = folder / "asked", monkeypatch
        self.log.touch()
        self.answers(COUNTS.format(log=self.log, seconds=0.2, figures=FIGURES))

    def answers(self, program):
        command = [sys.executable, "-c", program]
        self.monkeypatch.setattr(once, "module_command", lambda _: command)

    @property
    def asked(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def probe(tmp_path, monkeypatch):
    monkeypatch.setattr(once, "_unkept", {})
    monkeypatch.delenv("PENSTOCK_MACHINE")
    monkeypatch.setenv("PENSTOCK_PROBE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Pretended(tmp_path, monkeypatch)


def test_it_is_made_once_and_said_before(probe, tmp_path):
    place, said = Place(folder=tmp_path), []
    first = once.figures(place, lambda words: said.append((words, len(probe.asked))))
    assert json.loads(first) == FIGURES
    assert len(said) == 1 and said[0][1] == 0 and "once, about 10 s" in said[0][0]
    assert probe.asked == [{"device": "cpu", "threads": 0, "disk": str(tmp_path)}]
    assert place.file.parent == tmp_path / "cache" / "penstock" / "machines"
    assert once.figures(Place(folder=tmp_path / "below" / "it"), said.append) == first
    assert len(said) == 1 and len(probe.asked) == 1


def test_each_machine_and_disk_has_its_own(probe, tmp_path):
    cores = len(os.sched_getaffinity(0))
    here = Place(folder=tmp_path)
    assert here.key == Place(threads=cores, folder=tmp_path / "missing").key
    others = [Place("cpu:avx2", folder=tmp_path), Place(threads=cores + 1, folder=tmp_path)]
    others.append(Place(folder=Path("/proc")))
    assert len({place.key for place in [here, *others]}) == 4


def test_processes_that_begin_together_measure_once(probe, tmp_path):
    place, found = Place(folder=tmp_path), []
    run = [
        threading.Thread(target=lambda: found.append(once.figures(place, lambda _: None)))
        for _ in range(4)
    ]
    for thread in run:
        thread.start()
    for thread in run:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 4 and len(probe.asked) == 1


def test_a_cache_that_cannot_be_written_breaks_nothing(probe, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    place, said = Place(folder=tmp_path), []
    for _ in range(2):
        assert json.loads(once.figures(place, said.append)) == FIGURES
    assert len(probe.asked) == 1  # of this process
    assert len(said) == 2 and "are not kept" in said[1]


def test_figures_that_cannot_be_read_are_measured_again(probe, tmp_path):
    place = Place(folder=tmp_path)
    place.file.parent.mkdir(parents=True)
    for wrong in (b"{", b"[1]", b"\xff"):
        place.file.write_bytes(wrong)
        assert json.loads(once.figures(place, lambda _: None)) == FIGURES
    assert len(probe.asked) == 3


def test_a_disk_that_takes_no_files_is_not_measured(probe, tmp_path):
    said = []
    once.figures(Place(folder=Path("/proc/sys")), said.append)
    assert probe.asked[0]["disk"] == ""
    assert "/proc/sys takes no files" in said[1]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import sys; sys.exit('no device of that name')", "no device of that name"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import time; time.sleep(60)", "took over 0.5 s"),
    ],
)
def test_without_figures_a_plan_is_made_of_built_in_ones_and_says_so(
    probe, tmp_path, monkeypatch, program, why
):
    monkeypatch.setattr(once, "_MOST_SECONDS", 0.5)
    probe.answers(program)
    said = []
    settings = EngineSettings.make("dummy:opt-125m", disk=str(tmp_path), disk_memory=1)
    assert with_figures(settings, said.append).machine == ""
    assert why in said[1] and "may be off by several times" in said[1]
    assert not place_of(settings).file.exists()


def test_without_a_probe_it_says_what_that_means(probe, caplog):
    for probing in (True, False):
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING, "penstock"),
            LLM(MODEL, host_memory="64MiB", probe=probing) as llm,
        ):
            found = [llm.plan(Workload.uniform(4, 8, 8)) for _ in range(2)]
        assert len(caplog.records) == 1
        said = "about 10 s" if probing else "built-in figures, which may be off by several times"
        assert said in caplog.text
        assert found[0]["figures"] == ("of a test" if probing else found[1]["figures"])
    assert "built in" in found[0]["figures"]
    assert len(probe.asked) == 1
    assert probe.asked[0]["disk"] == str(MODEL)


def test_what_is_refused_is_refused_before(probe):
    with (
        LLM(MODEL, policy={"micro_batch": "x"}) as llm,
        pytest.raises(PenstockError, match="micro_batch"),
    ):
        llm.plan()
    assert probe.asked == []


PLAN = [sys.executable, "-m", "penstock", "plan", str(MODEL), "--rows", "4", "--host-memory", "1GB"]


def test_the_command_measures_this_machine(probe):
    del probe
    first, second = (
        subprocess.run(PLAN, capture_output=True, text=True, timeout=300) for _ in range(2)
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "once" in first.stderr and "once" not in second.stderr
    figures = [json.loads(found.stdout)["figures"] for found in (first, second)]
    assert figures[0] == figures[1] and "threads" in figures[0]


def test_an_interrupt_ends_the_probe_and_keeps_nothing(probe, tmp_path):
    del probe
    started = subprocess.Popen(PLAN, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert "once" in started.stderr.readline()
    os.killpg(started.pid, signal.SIGINT)
    said = started.stderr.read()  # to the end: nobody who could write to it is left
    assert started.wait(30) != 0, said
    assert "Traceback" not in said
    assert list((tmp_path / "cache").rglob("*.json")) == []
