"""Machines corrected by reports."""

import json

import pytest
from penstock.errors import InvalidArgumentError
from penstock.machine.calibrate import correct_file, file_to_correct, products_scaled, recalibrated

MACHINE = {
    "version": 1,
    "disk_read_bytes_per_second": 2e9,
    "gemm_flops_per_second": 1e11,
    "gemm": [
        {"format": "bf16", "rows": 16, "flops_per_second": 3e11},
        {"format": "int4-g64", "rows": 16, "flops_per_second": 5e11},
    ],
    "attention": [{"kv": "bf16", "bytes_per_second": 1e10}],
}


def report(**busy):
    return {
        "prediction": {"lanes": {"compute": {"seconds": 6.0}, "disk_read": {"seconds": 4.0}}},
        "stats": {"seconds": 10.0, "lanes": {n: {"busy_seconds": s} for n, s in busy.items()}},
    }


def test_rates_become_those_that_would_have_been_right():
    found = recalibrated(MACHINE, report(compute=8.0, disk_read=2.0))
    assert found["disk_read_bytes_per_second"] == 4e9
    assert found["gemm"][0]["flops_per_second"] == pytest.approx(3e11 * 0.75)
    assert found["gemm"][0]["rows"] == 16
    assert found["attention"][0]["bytes_per_second"] == pytest.approx(0.75e10)
    assert found["gemm_flops_per_second"] == pytest.approx(0.75e11)
    assert MACHINE["gemm"][0]["flops_per_second"] == 3e11  # untouched


def test_a_run_that_did_less_is_compared_with_less():
    measured = report(compute=3.0, disk_read=2.0)
    measured["prediction"].update(prompt_tokens=600, generated_tokens=400)
    measured["stats"].update(prompt_tokens=400, generated_tokens=100)
    measured["prediction"]["lanes"]["disk_read"]["bytes"] = 8000
    measured["stats"]["lanes"]["disk_read"]["bytes"] = 2000
    found = recalibrated(MACHINE, measured)
    assert found["disk_read_bytes_per_second"] == pytest.approx(1e9)  # a quarter of 4 s was due
    assert found["gemm_flops_per_second"] == pytest.approx(1e11)  # half of 6 s was due


def test_a_lane_that_hardly_worked_tells_nothing():
    found = recalibrated(MACHINE, report(compute=0.1, disk_read=0.4))
    assert found == MACHINE


def test_no_factor_is_wild():
    found = recalibrated(MACHINE, report(disk_read=0.6, compute=6.0))
    assert found["disk_read_bytes_per_second"] == pytest.approx(2e9 * 4 / 0.6)
    far = {**report(disk_read=9.0), "prediction": {"lanes": {"disk_read": {"seconds": 0.1}}}}
    assert recalibrated(MACHINE, far)["disk_read_bytes_per_second"] == pytest.approx(2e9 / 8)


def test_products_are_scaled_by_their_format():
    found = products_scaled(MACHINE, {"bf16": 0.8, "int": 0.5})
    assert [one["flops_per_second"] for one in found["gemm"]] == pytest.approx([2.4e11, 2.5e11])
    assert found["attention"] == MACHINE["attention"]


def test_a_file_is_corrected_where_there_is_one(monkeypatch, tmp_path):
    kept = tmp_path / "machine.json"
    for wrong in ("auto", "", "{}", "t4", str(tmp_path / "none.json")):
        with pytest.raises(InvalidArgumentError) as caught:
            file_to_correct(wrong, kept)
        assert caught.value.field == "recalibrate"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t4").write_text("{}")
    with pytest.raises(InvalidArgumentError):  # the run is planned with the shipped t4
        file_to_correct("t4", kept)
    assert file_to_correct("./t4", kept).name == "t4"
    kept.write_text(json.dumps({**MACHINE, "about": "here; corrected by a run of then"}))
    assert file_to_correct("auto", kept) == kept
    correct_file(kept, report(disk_read=2.0))
    found = json.loads(kept.read_text())
    assert found["disk_read_bytes_per_second"] == 4e9
    assert found["about"].startswith("here; corrected by a run of 20")
