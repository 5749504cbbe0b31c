"""Which libcublasLt the engine is to use."""

import importlib
import sys
from types import SimpleNamespace

import pytest
from penstock.engine.opening import open_engine
from penstock.engine.workload import Workload
from penstock.machine.probe import Probe, measure_machine
from penstock.settings import EngineSettings
from penstock.util.config import cublaslt_library


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """What is chosen where a folder holds all that is installed, and no choice is made."""
    monkeypatch.delenv("PENSTOCK_CUBLASLT", raising=False)

    def chosen():
        with monkeypatch.context() as only:
            for name in [n for n in sys.modules if n.split(".")[0] == "nvidia"]:
                only.delitem(sys.modules, name)
            only.setattr(sys, "path", [str(tmp_path)])
            importlib.invalidate_caches()
            return cublaslt_library()

    return tmp_path, chosen


def test_without_the_package_the_loader_is_asked(installed):
    _, chosen = installed
    assert chosen() == ""


def test_other_packages_of_cuda_bring_none(installed):
    folder, chosen = installed
    (folder / "nvidia" / "cu13" / "include").mkdir(parents=True)
    assert chosen() == ""


def test_the_package_brings_it(installed):
    folder, chosen = installed
    library = folder / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    assert chosen() == str(library)


@pytest.mark.parametrize("choice", ["off", "/somewhere/libcublasLt.so.13"])
def test_the_variable_decides_and_reaches_engines_and_probes(monkeypatch, choice):
    monkeypatch.setenv("PENSTOCK_CUBLASLT", choice)
    heard = []
    core = SimpleNamespace(
        EngineOptions=SimpleNamespace,
        Engine=lambda options: heard.append(options.cublaslt),
        ProbeOptions=SimpleNamespace,
        probe_machine=lambda options: heard.append(options.cublaslt) or '{"about": ""}',
    )
    open_engine(core, EngineSettings.make("dummy:tiny"), Workload())
    measure_machine(Probe(), lambda _: None, core)
    assert heard == [choice, choice]
