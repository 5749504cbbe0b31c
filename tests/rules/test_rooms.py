"""Imports of the Python package run one way."""

from rules import project, rooms

SAMPLE = "python/penstock/text/a.py"


def test_imports_follow_the_table():
    paths = project.files(".py", under=(rooms.PACKAGE,))
    found = [v for path in paths for v in rooms.import_violations(path, project.text(path))]
    assert not found, "\n".join(found)


def test_the_table_has_no_cycle():
    seen: set[str] = {"__init__"}  # the command line asks it for the version
    for room, uses in rooms.TABLE.items():
        assert uses <= seen, f"{room} uses a room that comes later"
        seen.add(room)


def test_every_room_exists_and_none_is_empty():
    paths = project.files(".py", under=(rooms.PACKAGE,))
    found = {rooms.room_of(path) for path in paths}
    assert found == set(rooms.TABLE) - {"_core"}
    folders = {path.removeprefix(rooms.PACKAGE).split("/")[0] for path in paths if
               path.count("/") > rooms.PACKAGE.count("/")}  # fmt: skip
    for folder in folders:
        inside = [p for p in paths if p.startswith(f"{rooms.PACKAGE}{folder}/")]
        assert len(inside) > 1, folder


def test_the_architecture_shows_the_table():
    assert rooms.documented_table(project.text("ARCHITECTURE.md")) == rooms.TABLE


def test_an_import_from_above_is_found():
    for source in (
        "from penstock.engine.native import Core",
        "import penstock.job.rows",
        "def f():\n    from penstock.llm import LLM",
        "if TYPE_CHECKING:\n    from penstock.settings import EngineSettings",
        "from penstock import LLM",
        "from penstock import engine",
        "from ..engine import native",
        "from . import chat",
    ):
        assert rooms.import_violations(SAMPLE, source), source
    assert rooms.import_violations("python/penstock/extra.py", "")


def test_imports_from_below_and_beside_pass():
    source = "import json\nfrom penstock.errors import A\nfrom penstock.text import chat\n"
    assert not rooms.import_violations(SAMPLE, source)
    assert not rooms.import_violations("python/penstock/__main__.py", "import penstock.cli.app")


def test_the_documented_table_is_read():
    text = "| `python/penstock/text` | words | errors util |\n| `cpp/x` | y | z |\n"
    assert rooms.documented_table(text) == {"text": {"errors", "util"}}
