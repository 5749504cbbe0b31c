"""The table of options is that of the settings, the command line, the types and the documents."""

import dataclasses
import re
import runpy
from pathlib import Path

import pytest
from penstock.cli.options import (
    BenchArgs,
    DoctorArgs,
    EngineArgs,
    EvalArgs,
    JobArgs,
    PageArgs,
    ProbeArgs,
    SamplingArgs,
    WorkloadArgs,
)
from penstock.errors import InvalidArgumentError
from penstock.sampling import SamplingParams
from penstock.settings import EngineOptions, EngineSettings
from penstock.util.command_options import (
    BENCH,
    COMMAND_OPTIONS,
    DOCTOR,
    EVAL,
    JOB,
    PLAN,
    PROBE,
    SAMPLING,
    WORKLOAD,
)
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


def test_commands_have_the_options_of_the_table():
    groups = {
        SAMPLING: SamplingArgs, JOB: JobArgs, WORKLOAD: WorkloadArgs, PLAN: PageArgs,
        BENCH: BenchArgs, PROBE: ProbeArgs, EVAL: EvalArgs, DOCTOR: DoctorArgs,
    }  # fmt: skip
    assert {option.group for option in COMMAND_OPTIONS} == groups.keys()
    own = {"schedule": "as", "as_json": "json"}
    for group, arguments in groups.items():
        defaults = {own.get(f.name, f.name): f.default for f in dataclasses.fields(arguments)}
        options = {o.name: o.default for o in COMMAND_OPTIONS if o.group == group}
        assert list(defaults) == list(options)
        for name, default in options.items():
            found = defaults[name]
            assert default == (None if found is dataclasses.MISSING else str(found)
                               if isinstance(found, Path) else found), name  # fmt: skip
    assert {o.name for o in COMMAND_OPTIONS if o.group == SAMPLING} == (
        set(SamplingParams.names()) - {"seed"}
    )


def test_defaults_and_limits_of_sampling_are_those_of_the_table():
    plain = SamplingParams()
    for option in COMMAND_OPTIONS:
        if option.group == SAMPLING and (said := re.search(r"Default: (\d+)", option.help)):
            assert getattr(plain, option.name) == int(said[1])
        limits = re.search(r"(-?\d+) to (\d+)$", option.takes)
        if option.group == SAMPLING and limits:
            SamplingParams(**{option.name: int(limits[2])})
            with pytest.raises(InvalidArgumentError, match=f"{option.name}: .*{option.takes}$"):
                SamplingParams(**{option.name: int(limits[2]) + 1})


def test_the_page_of_options_is_made_from_the_table():
    made = runpy.run_path(str(ROOT / "tools" / "options_table.py"))
    assert made["FILE"].read_text(encoding="utf-8") == made["page"]()
