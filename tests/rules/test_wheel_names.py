"""tools/build_wheel.py reads what a module needs from the module; lower_bounds.py from the list."""

import importlib.util

import pytest
from rules import project


def tool(name):
    spec = importlib.util.spec_from_file_location(name, project.ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_newest_symbol_of_each_library_counts():
    module = b"\x7fELF\0GLIBC_2.9\0x\0GLIBC_2.34\0GLIBC_2.17\0GLIBCXX_3.4.30\0GLIBC_PRIVATE\0"
    assert tool("build_wheel").newest_needed(module) == {"GLIBC": "2.34", "GLIBCXX": "3.4.30"}
    assert tool("build_wheel").newest_needed(b"") == {}


def test_the_oldest_versions_are_those_of_pyproject():
    pinned = tool("lower_bounds").lower_bounds(project.text("pyproject.toml"))
    assert len(pinned) == 6
    assert all("==" in each for each in pinned)
    assert tool("lower_bounds").lower_bounds('dependencies = [\n  "a>=1.2",\n]') == ["a==1.2"]


@pytest.mark.parametrize("wrong", ['dependencies = [\n  "a",\n]', "[project]"])
def test_a_list_without_bounds_is_refused(wrong):
    with pytest.raises(SystemExit, match="pyproject.toml"):
        tool("lower_bounds").lower_bounds(wrong)
