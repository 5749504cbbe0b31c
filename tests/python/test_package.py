"""What is installed beside the code."""

import json
from importlib.resources import files

import penstock
import pytest
from penstock.machine.shipped import shipped_machine, shipped_machines


def test_types_and_machines_are_installed():
    assert (files("penstock") / "py.typed").is_file()
    assert shipped_machines() == ["h200", "laptop", "rtx4090", "t4"]
    for name in shipped_machines():
        assert json.loads(shipped_machine(name))["disk_read_bytes_per_second"] > 0
    assert shipped_machine("data") == ""


def test_public_names_are_there():
    for name in penstock.__all__:
        assert getattr(penstock, name)
    with pytest.raises(AttributeError):
        penstock.missing  # noqa: B018
