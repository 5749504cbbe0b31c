"""A job that is predicted to be long has its first records early, and all of them are the same."""

import json

from penstock.job.options import JobOptions
from penstock.job.run import run_job
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from python.conftest import MODELS

ROWS = 32
SLOW = {"gemm_flops_per_second": 1e6, "attention_bytes_per_second": 1e6}


def run(folder, name, machine):
    output = folder / f"{name}.jsonl"
    settings = EngineSettings.make(
        MODELS / "penstock-opt-5m", host_memory="64MiB", threads=1, machine=machine
    )
    sampling = SamplingParams(max_tokens=16, temperature=0.0, ignore_eos=True)
    result = run_job(JobOptions(folder / "in.jsonl", output, settings, sampling))
    assert result.exit_code == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    return result.report, records


def test_first_records_come_early_and_are_those_of_any_other_plan(tmp_path):
    rows = [{"id": i, "prompt": f"Row {i} of the file"} for i in range(ROWS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    at_once, records = run(tmp_path, "at-once", {})
    assert at_once["engine"]["policy"]["max_sequences"] == ROWS
    early, others = run(tmp_path, "early", SLOW)
    in_flight = early["engine"]["policy"]["max_sequences"]
    assert in_flight <= ROWS / 3
    assert early["prediction"]["first_results_seconds"] <= early["prediction"]["seconds"] / 3
    assert {r["id"] for r in others[:in_flight]} == set(range(in_flight))
    assert early["stats"]["sweeps"] > 3 * 16 > at_once["stats"]["sweeps"]
    assert sorted(map(json.dumps, others)) == sorted(map(json.dumps, records))
