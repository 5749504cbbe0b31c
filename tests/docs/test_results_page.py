"""docs/results.md and the figures of the README are what the script makes of the JSON files."""

import json
import shutil

import pytest
import result_tables as tables
import results_page
from results import RESULTS


def test_the_documents_are_what_the_script_makes():
    for path, wanted in results_page.made().items():
        stale = f"{path.name} is out of date: run python benchmarks/results_page.py"
        assert path.read_text("utf-8") == wanted, stale


@pytest.fixture
def results(tmp_path):
    """A copy of the results that a test may change."""
    return shutil.copytree(RESULTS, tmp_path / "results")


def changed(folder, name, new_name, change):
    """Writes a result under another name, with something changed."""
    result = json.loads((folder / f"{name}.json").read_text("utf-8"))
    change(result)
    (folder / f"{new_name}.json").write_text(json.dumps(result), "utf-8")


def test_a_further_file_of_a_known_kind_adds_rows(results):
    def on_another_machine(result):
        result.update(date="2026-12-01 10:00 UTC", name="kernels-zen-3")
        result["machine"]["cpu"] = "AMD EPYC 7763 64-Core Processor"

    changed(results, "kernels", "kernels-zen-3", on_another_machine)
    before = results_page.page(results_page.read(RESULTS))
    after = results_page.page(results_page.read(results))
    assert "EPYC 7763" not in before
    added = [line for line in after.splitlines() if "| AMD EPYC 7763 | 2026-12-01 |" in line]
    assert len(added) >= 20
    assert set(before.splitlines()) - set(after.splitlines()) <= {
        line for line in before.splitlines() if line.startswith(("Files:", "`"))
    }


def test_figures_come_from_the_files(results):
    def twice_as_fast(result):
        result["measured"]["tokens_per_second_whole_command"] *= 2

    changed(results, "throughput-bf16", "throughput-bf16", twice_as_fast)
    for path, text in results_page.made(results).items():
        assert "32.3" in text, path.name
        assert "32.3" not in path.read_text("utf-8"), path.name


def test_a_file_of_no_known_kind_is_refused(results):
    (results / "other.json").write_text("{}", "utf-8")
    with pytest.raises(ValueError, match="other.json"):
        results_page.read(results)


def test_every_row_names_its_processor_and_day():
    page = results_page.page(results_page.read(RESULTS))
    rows = [line for line in page.splitlines() if line.startswith("| ") and "2026-" in line]
    unnamed = [row for row in rows if not row.split("|")[-3].strip()]
    assert rows and not unnamed


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.5, 3, "0.500"), (6.5, 2, "6.5"), (9.96, 2, "10"), (328.07, 3, "328"), (1234.5, 3, "1230")],
)
def test_figures_have_as_many_digits_as_asked(value, digits, shown):
    assert tables.figure(value, digits) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon model 207"),
        ("AMD EPYC", "AMD EPYC model 207"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
        ("Intel(R) Core(TM) i7-1260P CPU @ 2.10GHz", "Intel Core i7-1260P"),
    ],
)
def test_processors_have_short_names(name, shown):
    assert tables.processor({"cpu": name, "cpu_model": "207"}) == shown
