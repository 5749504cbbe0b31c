"""The search for a policy: what it proposes fits, keeps what is the user's, and is worth it."""

import json
import random
import time

import pytest
from penstock import _core
from penstock.planner import choose, what_if
from penstock.planner.shares import ShareProgram, best_shares, fill, measure
from penstock.planner.space import KINDS, LANES, TIERS, Space

GIB = 1 << 30


def options(model="dummy:opt-1.3b", **changes):
    made = _core.EngineOptions()
    made.model = model
    known = {
        "host_memory": 2 * GIB,
        "expected_rows": 200,
        "mean_prompt": 100,
        "max_prompt": 120,
        "mean_new": 20,
        "max_new": 20,
        "threads": 2,
    }
    for name, value in {**known, **changes}.items():
        setattr(made, name, value)
    return made


def accelerator(**changes):
    given = {"device": "virtual", "device_memory": [GIB], "disk": "/tmp", "disk_memory": 4 * GIB}
    return options(**{**given, **changes})


def test_what_is_proposed_fits_to_the_byte():
    made = random.Random(4)
    for _ in range(12):
        given = {
            "host_memory": made.randrange(GIB // 2, 6 * GIB),
            "device_memory": [made.randrange(GIB // 4, 3 * GIB)],
            "device": made.choice(["cpu", "virtual", "virtual,virtual", "virtual,virtual,virtual"]),
        }
        if "," in given["device"]:
            devices = given["device"].count(",") + 1
            given["device_memory"] = [made.randrange(GIB // 4, GIB) for _ in range(devices)]
        if made.random() < 0.5:
            given |= {"disk": "/tmp", "disk_memory": made.randrange(1, 8 * GIB)}
        native = _core.Planning(options(**given))
        choice = choose(native, effort=0.4)
        if choice is None:
            continue
        evaluated = json.loads(native.evaluate(choice.text))
        assert evaluated["fits"]
        for place, budget in evaluated["budget"].items():
            assert evaluated["bytes"][place] <= budget


def test_layers_follow_the_memory_of_the_devices():
    given = {"device": "virtual,virtual,virtual", "host_memory": 4 * GIB}
    native = _core.Planning(options(**given, device_memory=[GIB, GIB // 2, 3 * GIB // 2]))
    choice = choose(native, effort=1)
    layers = choice.policy["device_layers"]
    assert sum(layers) == 24
    assert layers[1] < layers[0] < layers[2]
    fuller = json.loads(native.evaluate(choice.text))
    assert set(fuller["bytes"]) == {"device", "device:1", "device:2", "host", "disk"}


def test_a_division_that_is_given_is_kept():
    given = {"device": "virtual,virtual", "device_memory": [GIB], "host_memory": 4 * GIB}
    native = _core.Planning(options(**given))
    choice = choose(native, {"device_layers": [5, 19]}, effort=1)
    assert choice.policy["device_layers"] == [5, 19]
    with pytest.raises(_core.Error, match="24 on 2"):
        native.evaluate(json.dumps({"device_layers": [5, 5]}))


@pytest.mark.parametrize("device", ["cpu", "virtual"])
@pytest.mark.parametrize("disk", [{}, {"disk": "/tmp", "disk_memory": 4 * GIB}])
def test_a_longer_search_finds_what_is_no_slower_and_keeps_what_is_given(device, disk):
    given = {"device": device, "device_memory": [GIB // 2], "host_memory": GIB}
    native = _core.Planning(options(**given, **disk))
    wanted = {"micro_batch": 7}
    hasty, patient = (choose(native, wanted, effort) for effort in (0.02, 1.5))
    assert patient.prediction["seconds"] <= hasty.prediction["seconds"] * 1.001
    assert patient.policy["micro_batch"] == 7
    assert json.loads(native.evaluate(patient.text))["fits"]
    assert patient.tried >= hasty.tried


class Counting:
    """A native planning that counts what it is asked, and may be slow to answer."""

    def __init__(self, native, wait=0.0):
        self.native, self.wait, self.asked = native, wait, {"evaluate": 0, "sketch": 0, "steps": 0}

    def facts(self):
        return self.native.facts()

    def evaluate(self, policy):
        self.asked["evaluate"] += 1
        return self.native.evaluate(policy)

    def predict(self, *_):
        pytest.fail("a search makes no dry run in panels as they are")

    def sketch(self, policy, most_rows=0):
        time.sleep(self.wait)
        self.asked["sketch"] += 1
        answer = self.native.sketch(policy, most_rows)
        self.asked["steps"] += json.loads(answer)["steps"]
        return answer


# A search ends by the work it did and not by a clock: a slow machine plans the same.
def test_the_same_question_has_the_same_answer_on_a_slow_machine():
    native = _core.Planning(accelerator(device_memory=[GIB // 2], host_memory=GIB))
    fast, slow = Counting(native), Counting(native, 0.03)
    first, second = (choose(each, effort=0.8) for each in (fast, slow))
    assert first.policy == second.policy
    assert first.tried == second.tried
    assert fast.asked == slow.asked
    assert slow.asked["sketch"] > 1


# Llama-3.1-70B on a small host: dry runs were long, and each of many what-ifs made its own.
@pytest.mark.parametrize("budget", [4, 16])
def test_the_work_on_a_large_model_is_bounded(budget):
    given = {"weights": "int4", "kv": "int4", "mean_prompt": 32, "mean_new": 32}
    given |= {"max_prompt": 32, "max_new": 32, "expected_rows": 1000}
    native = _core.Planning(options("dummy:llama-3.1-70b", host_memory=budget * GIB, **given))
    counting = Counting(native)
    choice = choose(counting)
    assert counting.asked["steps"] < 12_000_000
    assert counting.asked["evaluate"] < 4000
    evaluated = json.loads(native.evaluate(choice.text))
    assert evaluated["fits"]
    exact = json.loads(native.predict(choice.text, []))
    assert choice.prediction["seconds"] == pytest.approx(exact["seconds"], rel=0.01)
    rates = {4: 0.72, 16: 0.723}  # tokens a second on the built-in machine
    assert exact["tokens_per_second"] >= rates[budget] * 0.99


# Larger panels: as many bytes over every lane, nearly as many seconds, far fewer steps.
@pytest.mark.parametrize("device", ["cpu", "virtual"])
def test_a_sketch_is_nearly_the_dry_run(device):
    made = random.Random(11)
    given = {"device": device, "device_memory": [2 * GIB], "expected_rows": 40}
    native = _core.Planning(options("dummy:opt-30b", host_memory=8 * GIB, **given))
    for _ in range(6):
        policy = {
            "max_sequences": made.randrange(4, 40),
            "micro_batch": made.randrange(2, 16),
            "micro_batch_tokens": 512,
            "weight_share": {"host": 0.1, "disk": 0.9},
        }
        policy["micro_batches"] = -(-policy["max_sequences"] // policy["micro_batch"])
        text = json.dumps(policy)
        whole, sketch = (json.loads(predict(text)) for predict in (exactly(native), native.sketch))
        assert sketch["steps"] * 2 < whole["steps"]
        assert sketch["seconds"] == pytest.approx(whole["seconds"], rel=0.05)
        for name in ("sweeps", "generated_tokens", "peak_bytes"):
            assert sketch[name] == whole[name]
        moved = {lane: work["bytes"] for lane, work in whole["lanes"].items()}
        assert {lane: work["bytes"] for lane, work in sketch["lanes"].items()} == pytest.approx(
            moved, rel=0.02
        )


def exactly(native):
    return lambda text: native.predict(text, [])


def test_a_search_says_what_it_does():
    heard = []
    choose(_core.Planning(options()), effort=0.1, tell=heard.append)
    assert len(heard) == 2
    assert all(line.startswith("planning: ") for line in heard)


# The phases of a job make up its time and the work of its lanes.
def test_phases_sum_to_the_job():
    native = _core.Planning(accelerator())
    prediction = json.loads(native.predict(choose(native, effort=1).text, []))
    assert {phase["name"] for phase in prediction["phases"]} <= {"prompts", "both", "tokens"}
    assert sum(phase["seconds"] for phase in prediction["phases"]) == pytest.approx(
        prediction["seconds"]
    )
    assert sum(phase["sweeps"] for phase in prediction["phases"]) == prediction["sweeps"]
    for lane, whole in prediction["lanes"].items():
        spent = sum(phase["lanes"].get(lane, 0) for phase in prediction["phases"])
        assert spent == pytest.approx(whole["seconds"])
    assert "decides: busy for" in prediction["bottleneck"]


def test_what_if_names_smaller_formats_of_weights_and_of_the_cache():
    choice = choose(_core.Planning(options()), effort=0.5)
    changes = what_if(_core, options, (choice, 10.0), {})
    rates = {one["change"]: one["tokens_per_second"] for one in changes}
    assert {"int8 weights", "int8 KV cache"} <= set(rates)
    given = {"weights": "int8", "kv": "int8"}
    choice = choose(_core.Planning(options(**given)), effort=0.5)
    changes = what_if(_core, lambda **more: options(**given | more), (choice, 10.0), {})
    assert {"int4 weights", "int4 KV cache"} <= {one["change"] for one in changes}
    given = {"weights": "int4", "kv": "int4"}
    choice = choose(_core.Planning(options(**given)), effort=0.5)
    changes = what_if(_core, lambda **more: options(**given | more), (choice, 10.0), {})
    assert not [one for one in changes if "weights" in one["change"] or "KV" in one["change"]]


def test_a_choice_is_complete_and_reads_back_as_itself():
    native = _core.Planning(accelerator())
    choice = choose(native, effort=1)
    again = json.loads(native.evaluate(choice.text))["policy"]
    assert again == {**choice.policy, **{k: again[k] for k in again if k not in choice.policy}}
    for kind in KINDS:
        assert sum(choice.policy[kind].values()) == pytest.approx(1)
        assert again[kind] == pytest.approx(choice.policy[kind])


def test_what_is_the_users_stays():
    wanted = {
        "kv_share": {"host": 0.5, "device": 0.5},
        "micro_batch": 4,
        "micro_batches": 3,
        "host_attention": True,
        "admission": "block",
        "prefill_chunk": 17,
    }
    policy = choose(_core.Planning(accelerator()), wanted, effort=1).policy
    for name, value in wanted.items():
        if name == "kv_share":
            assert {t: s for t, s in policy[name].items() if s} == value
        else:
            assert policy[name] == value
    assert policy["max_sequences"] == 12


def test_nothing_fits_nothing():
    assert choose(_core.Planning(options(host_memory=8 << 20))) is None


# The program's optimum is no worse than any shares on a grid, in its own closed form.
@pytest.mark.parametrize("hosted", [False, True])
def test_no_shares_on_a_grid_are_better(hosted):
    space = Space(_core.Planning(accelerator(host_memory=6 * GIB, device_memory=[3 * GIB // 2])))
    choice = {
        "max_sequences": 48,
        "micro_batch": 16,
        "micro_batches": 6,
        "micro_batch_tokens": 128,
        "host_attention": hosted,
    }
    best, _ = best_shares(space, choice)
    assert best.fits
    steps = [i / 4 for i in range(5)]
    tried = 0
    for weights in steps:
        for pages in steps:
            shares = {
                "weight_share": {"device": weights, "host": 1 - weights},
                "kv_share": {"device": pages, "host": 1 - pages},
                "activation_share": {"device": 1},
            }
            other = space.evaluate({**choice, **shares})
            if other.fits:
                tried += 1
                assert best.seconds <= other.seconds * 1.02
    assert tried > 3


def test_coefficients_are_exact_at_the_corners():
    space = Space(_core.Planning(accelerator()))
    choice = {"max_sequences": 16, "micro_batch": 16, "micro_batches": 2, "micro_batch_tokens": 64}
    of = measure(space, choice)
    assert {kind for kind, _ in of.moves} == set(KINDS)
    move = ("kv_share", "host")
    for tier in range(len(TIERS)):
        there = of.base.bytes[tier] + of.bytes_slope(move, tier)
        assert there == of.moves[move].bytes[tier]
    for lane in range(len(LANES)):
        there = of.base.lanes[1][lane] + of.seconds_slope(move, 1, lane)
        assert there == pytest.approx(of.moves[move].lanes[1][lane])


def test_shares_left_over_are_where_the_model_computes():
    space = Space(_core.Planning(accelerator()))
    best, solution = best_shares(space, {"max_sequences": 8, "micro_batch": 8, "micro_batches": 1})
    filled = fill(space, {}, solution)
    for kind in KINDS:
        assert sum(filled[kind].values()) == pytest.approx(1)
        found = {tier: share for tier, share in best.policy[kind].items() if share}
        assert found == pytest.approx({t: s for t, s in filled[kind].items() if s})


def test_more_of_anything_is_never_worse():
    def made(**changes):
        return accelerator(**{"device_memory": [GIB // 2], **changes})

    choice = choose(_core.Planning(made()), effort=1)
    answers = what_if(_core, made, (choice, 10.0), {})
    assert {one["change"] for one in answers} >= {
        "one more GiB of device memory",
        "one more GiB of host memory",
        "one more GB/s of disk",
    }
    for one in answers:
        assert one["tokens_per_second"] >= 10.0 * 0.97, one
    marginal = {one["change"]: one.get("marginal_seconds") for one in answers}
    assert marginal["one more GiB of device memory"] >= 0
    assert marginal["one more GB/s of disk"] is None


def test_what_a_byte_is_worth_is_what_solving_again_with_it_saves():
    space = Space(_core.Planning(accelerator()))
    choice = {"max_sequences": 8, "micro_batch": 8, "micro_batches": 1}
    program = ShareProgram(measure(space, choice))
    room = tuple(float(limit) for limit in space.evaluate(choice).budget)
    before = program.solve(room)
    more = 1 << 20
    after = program.solve((room[0] + more, *room[1:]))
    assert before.worth[0] > 0
    assert before.seconds - after.seconds == pytest.approx(before.worth[0] * more, rel=1e-3)


def test_the_search_prints_nothing(capfd):
    choose(_core.Planning(options()), effort=0.1)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_every_shipped_machine_plans():
    from penstock.machine.shipped import shipped_machine, shipped_machines

    for name in shipped_machines():
        device = "cpu" if name == "laptop" else "virtual"
        given = {"machine": shipped_machine(name), "device": device, "device_memory": [4 * GIB]}
        choice = choose(_core.Planning(options(host_memory=8 * GIB, **given)), effort=1)
        assert choice.prediction["tokens_per_second"] > 0
