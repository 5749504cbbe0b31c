import math

import pytest
from penstock import SamplingParams
from penstock.engine.seeds import completion_seeds, row_seed
from penstock.errors import InvalidArgumentError, PenstockError, UnsupportedError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", v) for v in (-0.1, math.nan, math.inf, "1", None, True, 101)],
        *[("top_p", v) for v in (0, -1, 1.01, math.nan, "0.5")],
        *[("min_p", v) for v in (-0.1, 1.1, math.nan)],
        *[("top_k", v) for v in (-2, 1.5, "3", 1 << 31, False)],
        *[("n", v) for v in (0, -1, 1025, 1.0, True)],
        *[("max_tokens", v) for v in (0, -1, 1 << 25, 2.0)],
        *[("min_tokens", v) for v in (-1, 17, 0.5)],
        *[("seed", v) for v in (-1, 1 << 64, 0.5, "1", True)],
        *[("presence_penalty", v) for v in (-2.1, 2.1, math.nan)],
        *[("frequency_penalty", v) for v in (-2.1, 2.1, math.inf)],
        *[("repetition_penalty", v) for v in (0, -1, math.inf, 101)],
        *[("stop", v) for v in ("", [""], [1], {"a": 1}, ["x"] * 65, "y" * 1025)],
        *[("stop_token_ids", v) for v in ([-1], [1.0], "12", 7, [True], [1 << 31])],
        *[("allowed_token_ids", v) for v in ([-1], ["a"], 3)],
        *[("logit_bias", v) for v in ({"a": 1}, {"-1": 1}, {"1": 101}, {1: math.nan}, [1])],
        *[("logit_bias", v) for v in ({"1": 1, 1: 2}, {"1": "1"})],
        *[("logprobs", v) for v in (-1, 65, 1.0, True)],
        *[("prompt_logprobs", v) for v in (1, 5, "yes")],
        *[("ignore_eos", v) for v in (1, "true", None)],
    ],
)
def test_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidArgumentError, match=name) as caught:
        SamplingParams(**{name: value})
    assert caught.value.field == name
    assert caught.value.allowed or name == "stop"


def test_a_refusal_is_a_value_error_and_a_penstock_error():
    with pytest.raises(ValueError):
        SamplingParams(n=0)
    with pytest.raises(PenstockError):
        SamplingParams(n=0)


def test_values_are_normalised():
    params = SamplingParams(
        stop="\n", stop_token_ids=[3], logit_bias={"7": 2}, top_k=-1, temperature=1
    )
    assert params.stop == ("\n",)
    assert params.stop_token_ids == (3,)
    assert params.logit_bias == {7: 2.0}
    assert params.top_k == 0
    assert isinstance(params.temperature, float)
    assert SamplingParams(prompt_logprobs=0).prompt_logprobs is True
    assert SamplingParams(prompt_logprobs=False).prompt_logprobs is False


def test_merging_keeps_and_replaces():
    params = SamplingParams(max_tokens=5, temperature=0.0).merged({"max_tokens": 9, "top_p": None})
    assert (params.max_tokens, params.temperature, params.top_p) == (9, 0.0, 1.0)


def test_a_smaller_limit_lowers_the_jobs_minimum():
    params = SamplingParams(max_tokens=50, min_tokens=20).merged({"max_tokens": 5})
    assert params.min_tokens == 5


@pytest.mark.parametrize("name", ["best_of", "guided_json", "tools", "response_format", "echo"])
def test_known_but_unsupported_names(name):
    with pytest.raises(UnsupportedError, match=f"{name} is not supported") as merged:
        SamplingParams().merged({name: 2})
    with pytest.raises(UnsupportedError) as made:
        SamplingParams(**{name: 2})
    assert str(merged.value) == str(made.value)


def test_a_refusal_says_what_to_use_instead():
    with pytest.raises(UnsupportedError, match="best_of .*; instead: n gives"):
        SamplingParams(best_of=4)
    with pytest.raises(UnsupportedError, match="chat_template_kwargs"):
        SamplingParams(tools=[{"type": "function"}])


def test_names_that_ask_for_nothing_are_taken():
    named = {"best_of": 1, "skip_special_tokens": True, "bad_words": None, "echo": False}
    assert SamplingParams(top_k=3, **named) == SamplingParams(top_k=3)
    assert SamplingParams().merged({"tools": [], "response_format": {"type": "text"}}) == (
        SamplingParams()
    )


def test_the_constructor_still_shows_its_parameters():
    import inspect

    assert list(inspect.signature(SamplingParams).parameters)[:2] == ["n", "max_tokens"]
    with pytest.raises(TypeError, match="multiple values"):
        SamplingParams(1, n=1)


def test_no_limit_is_kept_on_the_wire():
    params = SamplingParams(max_tokens=None, min_tokens=40, logit_bias={5: 1.0})
    assert params.to_json()["max_tokens"] is None
    assert SamplingParams.from_json(params.to_json()) == params
    assert params.merged({"max_tokens": None}) == params
    assert params.merged({"max_tokens": 7}).min_tokens == 7


@pytest.mark.parametrize("name", ["max_token", "", "__class__", "a" * 500])
def test_unknown_names(name):
    with pytest.raises(InvalidArgumentError, match="unknown field") as caught:
        SamplingParams().merged({name: 1})
    assert len(str(caught.value)) < 120
    with pytest.raises(InvalidArgumentError, match="unknown field"):
        SamplingParams(**{name: 1})


def test_json_round_trip():
    params = SamplingParams(
        n=2, stop=["a", "b"], logit_bias={5: -1.5}, seed=1 << 63, prompt_logprobs=True, logprobs=0
    )
    assert SamplingParams().merged(params.to_json()) == params
    assert SamplingParams().to_json() == {}


def test_seeds_depend_on_job_row_and_completion_alone():
    seeds = {row_seed(job, key, j) for job in (0, 1) for key in (b"sa", b"sb") for j in (0, 1)}
    assert len(seeds) == 8
    assert row_seed(3, b"s1", 2) == row_seed(3, b"s1", 2) != row_seed(3, b"i1", 2)
    assert all(0 <= seed < 1 << 64 for seed in seeds)


def test_a_rows_own_seed_replaces_job_seed_and_id():
    assert completion_seeds(1, 9, b"a", 3) == completion_seeds(2, 9, b"b", 3)
    assert completion_seeds(1, None, b"a", 3) != completion_seeds(2, None, b"a", 3)
    assert completion_seeds(1, None, b"a", 5)[:2] == completion_seeds(1, None, b"a", 2)
