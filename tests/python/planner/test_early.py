"""First results early: what it costs, and where nothing is given for it."""

import json

import pytest
from penstock import _core
from penstock.planner import choose
from penstock.planner.early import LONG_SECONDS, MOST_COST

GIB = 1 << 30
SLOW = {"gemm_flops_per_second": 1e11, "disk_read_bytes_per_second": 4e9}


def planning(rows=256, machine=SLOW, **changes):
    options = _core.EngineOptions()
    known = {
        "model": "dummy:opt-6.7b",
        "host_memory": 8 * GIB,
        "threads": 2,
        "expected_rows": rows,
        "machine": json.dumps(machine),
    }
    lengths = {"mean_prompt": 32, "max_prompt": 32, "mean_new": 32, "max_new": 32}
    for name, value in {**known, **lengths, **changes}.items():
        setattr(options, name, value)
    return _core.Planning(options)


def shares_of(native, choice):
    """Seconds of the whole job, and the part after which a tenth of the rows is done."""
    predicted = json.loads(native.predict(choice.text, [], 0, False))
    return predicted["seconds"], predicted["first_results_seconds"] / predicted["seconds"]


def test_a_long_job_has_first_results_in_its_first_third_for_a_twentieth_at_most():
    native = planning()
    fastest, early = choose(native), choose(native, early_results=True)
    seconds, late = shares_of(native, fastest)
    longer, part = shares_of(native, early)
    assert seconds > LONG_SECONDS and late > 0.5
    assert part <= 1 / 3
    assert longer <= (1 + MOST_COST + 0.01) * seconds  # dry runs in larger panels are nearly right
    assert 0 <= early.slower <= MOST_COST and fastest.slower == 0
    assert json.loads(native.evaluate(early.text))["fits"]
    assert early.policy["max_sequences"] < fastest.policy["max_sequences"]
    assert choose(native, early_results=True).policy == early.policy


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"rows": 8}, {}),  # over soon
        ({"machine": {**SLOW, "disk_read_bytes_per_second": 1e8}, "host_memory": 2 * GIB}, {}),
        ({}, {"max_sequences": 128}),  # the user's
    ],
)
def test_nothing_is_given_where_it_costs_more_or_is_not_asked_for(given, wanted):
    native = planning(**given)
    fastest, early = (choose(native, wanted, early_results=way) for way in (False, True))
    assert early.policy == fastest.policy and early.slower == 0
