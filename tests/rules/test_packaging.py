"""The two lists of build requirements in pyproject.toml are one list."""

import sys

import pytest
from rules import project

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")


def test_isolated_and_plain_builds_need_the_same():
    config = tomllib.loads(project.text("pyproject.toml"))
    assert config["build-system"]["requires"] == config["dependency-groups"]["build"]
