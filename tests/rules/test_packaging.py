"""What pyproject.toml says of the package is true, and is said once."""

import re
import sys

import pytest
from rules import project

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")


@pytest.fixture(scope="module")
def config():
    return tomllib.loads(project.text("pyproject.toml"))


def test_isolated_and_plain_builds_need_the_same(config):
    assert config["build-system"]["requires"] == config["dependency-groups"]["build"]


def test_every_dependency_has_a_lower_bound_and_no_upper_one(config):
    for each in config["project"]["dependencies"]:
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", each), each


def test_no_upper_bound_on_python(config):
    assert config["project"]["requires-python"] == ">=3.10"


def test_every_extra_for_users_is_used_by_the_package(config):
    package = "".join(project.text(path) for path in project.files(".py", under=("python/",)))
    for name, needed in config["project"]["optional-dependencies"].items():
        if name in ("test", "dev"):
            continue
        for each in needed:
            assert re.split(r"[\[<>=]", each)[0] in package, f"{name}: {each}"


def test_the_changelog_begins_with_this_version(config):
    headings = re.findall(r"^## (\S+)", project.text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] in (config["project"]["version"], "Unreleased")
    assert config["project"]["version"] in headings
