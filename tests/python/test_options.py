"""The table of options is that of the settings, the command line, the types and the documents."""

import dataclasses
import runpy

import pytest
from penstock.cli.options import EngineArgs
from penstock.errors import InvalidArgumentError
from penstock.settings import EngineOptions, EngineSettings
from penstock.util.engine_options import ENGINE_OPTIONS, options_of
from python.conftest import MODELS

ROOT = MODELS.parent
NAMES = {option.name for option in ENGINE_OPTIONS}


def test_every_place_has_the_same_options():
    assert {field.name for field in dataclasses.fields(EngineArgs)} == NAMES
    assert {field.name for field in dataclasses.fields(EngineSettings)} - {"model"} == NAMES
    assert set(EngineOptions.__annotations__) == NAMES


def test_defaults_are_those_of_the_table():
    made = EngineSettings.make("dummy:tiny")
    for option in ENGINE_OPTIONS:
        assert getattr(EngineArgs(), option.name) == option.default
        if option.kind in ("text", "count", "flag") and option.name != "cache":
            assert getattr(made, option.name) == (option.default or type(option.default)())


def test_counts_end_where_the_table_says():
    for option in options_of("count"):
        assert EngineSettings.make("dummy:tiny", **{option.name: option.most})
        with pytest.raises(InvalidArgumentError, match=f"{option.name}: .*{option.takes}"):
            EngineSettings.make("dummy:tiny", **{option.name: option.most + 1})


def test_the_page_of_options_is_made_from_the_table():
    made = runpy.run_path(str(ROOT / "tools" / "options_table.py"))
    assert made["FILE"].read_text(encoding="utf-8") == made["page"]()
