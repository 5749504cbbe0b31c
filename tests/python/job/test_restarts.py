"""An engine that fails is started again; the rows that kill it are found."""

import json

import pytest
from penstock.errors import DeviceError, EngineDiedError, StorageError
from penstock.job.restarts import Restarts, add_stats
from penstock.job.rows import Row
from penstock.job.supply import RowSupply
from penstock.sampling import SamplingParams
from penstock.util import exitcodes
from penstock.util.processor import processor_name
from python.job_process import rows, spawn

FATAL = 4000


def run(job, **knobs):
    process = spawn(job, json.dumps(knobs))
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()


def records(job):
    return {record["id"]: record for record in job.records()}


@pytest.fixture
def wanted(job, tmp_path):
    """What the rows give when nothing fails."""
    job.write(rows(40))
    assert run(job)[0] == exitcodes.OK
    found = records(job)
    for path in job.output.parent.glob(f"*{job.output.name}*"):
        path.unlink()
    return found


def test_a_device_that_fails_once_costs_no_row(job, wanted, tmp_path):
    fails = tmp_path / "fails"
    fails.write_text("1")
    job.write(rows(40))
    code, said = run(job, device_fails=str(fails))
    assert code == exitcodes.OK, said
    assert said.count("starting the engine again") == 1
    assert records(job) == wanted


@pytest.mark.parametrize("aborts", [False, True])
def test_rows_that_kill_the_engine_take_no_other_with_them(job, wanted, aborts):
    given = rows(40)
    for place in (3, 20, 39):
        given[place]["prompt"] = [9, FATAL, place]
    job.write(given)
    code, said = run(job, fatal_token=FATAL, aborts=aborts)
    assert code == exitcodes.ROW_ERRORS, said
    found = records(job)
    assert len(found) == 40
    for place, row in enumerate(given):
        if place not in (3, 20, 39):
            assert found[row["id"]] == wanted[row["id"]]
            continue
        error = found[row["id"]]["error"]
        assert error["code"] == ("engine_died" if aborts else "device")
        assert "at last alone" in error["message"]
        assert error["line"] == place + 1


def test_the_only_row_may_be_the_one(job):
    job.write([{"id": 1, "prompt": [FATAL]}])
    code, said = run(job, fatal_token=FATAL)
    assert code == exitcodes.ROW_ERRORS, said
    assert records(job)[1]["error"]["code"] == "device"


def test_a_device_that_answers_nothing_costs_no_row_its_result(job, wanted, tmp_path):
    fails = tmp_path / "fails"
    fails.write_text("1000")
    job.write(rows(40))
    code, said = run(job, device_fails=str(fails), fails_at=1)
    assert code == exitcodes.FAULT
    assert said.count("starting the engine again") == 2
    assert all("error" not in record for record in job.records())
    fails.write_text("0")
    code, _ = run(job, device_fails=str(fails))
    assert code == exitcodes.OK
    assert records(job) == wanted


def row(line):
    params = SamplingParams()
    return Row(line=line, id=line, prompt=[line], params=params)


def lines(messages):
    return [m["row"]["line"] if m["type"] == "row" else m["type"] for m in messages]


def test_suspects_run_alone_when_nothing_else_is_left():
    supply = RowSupply(iter([row(n) for n in range(1, 6)]))
    assert lines(supply.messages(3)) == [1, 2, 3]
    assert supply.engine_died() is None
    assert lines(supply.messages(3)) == [1, 2, 3]
    supply.answered(2)
    assert supply.engine_died() is None  # 1 and 3, for the second time
    assert lines(supply.messages(4)) == [4, 5, "wait"]
    supply.answered(4)
    assert lines(supply.messages()) == []
    supply.answered(5)
    assert lines(supply.messages()) == [1, "wait"]
    assert supply.engine_died().line == 1
    assert lines(supply.messages(4)) == [3, "end"]


def test_what_was_in_flight_once_goes_with_the_others():
    supply = RowSupply(iter([row(n) for n in range(1, 4)]))
    assert lines(supply.messages(2)) == [1, 2]
    supply.engine_died()
    assert lines(supply.messages(9)) == [1, 2, 3, "end"]


def test_only_what_a_restart_may_mend_is_started_again():
    def allowed(error):
        return Restarts().allow(error, 0, None)

    assert allowed(DeviceError("x"))
    assert allowed(EngineDiedError("x", found="SIGSEGV"))
    assert not allowed(EngineDiedError("x", found="SIGKILL"))
    assert not allowed(StorageError("x"))


def test_three_deaths_in_a_row_are_enough_unless_records_come():
    restarts, error = Restarts(), DeviceError("x")
    assert [restarts.allow(error, 7, None) for _ in range(3)] == [True, True, False]
    restarts = Restarts()
    assert all(restarts.allow(error, done, None) for done in range(20))
    waits = Restarts(first_seconds=1)
    assert waits.allow(error, 0, None) and waits.seconds == 1
    assert waits.allow(error, 0, None) and waits.seconds > 1


def test_stats_of_engines_add_up():
    one = {
        "seconds": 2.0,
        "sweeps": 3,
        "lanes": {"compute": {"busy_seconds": 1.0, "bytes": 0, "tasks": 5}},
        "predicted_bytes": {"h2d": 10},
        "peak_bytes": {"host": 100},
        "budget_bytes": {"host": 200},
    }
    two = {**one, "lanes": {}, "peak_bytes": {"host": 70}, "sweeps": 1}
    total = add_stats(one, two)
    assert (total["seconds"], total["sweeps"]) == (4.0, 4)
    assert total["lanes"]["compute"]["tasks"] == 5
    assert total["predicted_bytes"] == {"h2d": 20}
    assert total["peak_bytes"] == {"host": 100} and total["budget_bytes"] == {"host": 200}
    assert add_stats({}, two) is two


def test_a_build_for_another_processor_is_named_in_words_and_not_started_again(job, tmp_path):
    fails = tmp_path / "fails"
    fails.write_text("99")
    job.write(rows(4))
    code, said = run(job, device_fails=str(fails), fails_at=2, aborts=True, signal="SIGILL")
    assert code == exitcodes.FAULT
    assert "killed by SIGILL: this processor lacks an instruction of this build" in said
    assert processor_name() in said and "kernels for fake were chosen" in said
    assert fails.read_text() == "98"
