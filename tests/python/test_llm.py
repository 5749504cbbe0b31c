"""The library over the pretended engine."""

import pytest
from penstock import LLM, PenstockError, RequestOutput, SamplingParams
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError, NotFoundError, UnsupportedError
from penstock.settings import EngineSettings

from python import fake_core

GREEDY = SamplingParams(temperature=0.0, max_tokens=8)


@pytest.fixture
def llm(fake_model):
    with LLM(fake_model, core=fake_core) as made:
        yield made


def test_results_come_in_the_order_of_the_prompts(llm):
    prompts = [f"prompt {i}" for i in range(30)]
    outs = llm.generate(prompts, GREEDY)
    assert [o.prompt for o in outs] == prompts
    assert all(isinstance(o, RequestOutput) for o in outs)
    assert outs[3].text == llm.generate("prompt 3", GREEDY)[0].text
    assert outs[3].token_ids == outs[3].outputs[0].token_ids
    assert outs[3].finish_reason in ("stop", "length")


def test_token_ids_are_prompts_too(llm):
    ids = llm.tokenizer.encode("prompt 3")
    (by_ids,) = llm.generate(ids, GREEDY)
    (by_text,) = llm.generate("prompt 3", GREEDY)
    assert (by_ids.token_ids, by_ids.prompt) == (by_text.token_ids, None)
    assert by_ids.prompt_token_ids == by_text.prompt_token_ids == ids
    assert len(llm.generate([ids, "x"], GREEDY)) == 2
    wrapped = [{"prompt_token_ids": ids}, {"prompt": "prompt 3"}]
    assert [o.token_ids for o in llm.generate(wrapped, GREEDY)] == [by_ids.token_ids] * 2
    assert llm.generate([], GREEDY) == []


def test_parameters_for_each_prompt(llm):
    params = [SamplingParams(max_tokens=n, ignore_eos=True) for n in (1, 5, 3)]
    assert [len(o.token_ids) for o in llm.generate(["a", "b", "c"], params)] == [1, 5, 3]
    with pytest.raises(InvalidArgumentError, match="params"):
        llm.generate(["a"], params)


def test_n_gives_different_completions_that_stay(llm):
    params = SamplingParams(n=4, max_tokens=6, ignore_eos=True, logprobs=1)
    (out,) = llm.generate("x", params)
    assert [o.index for o in out.outputs] == [0, 1, 2, 3]
    assert len({tuple(o.token_ids) for o in out.outputs}) == 4
    (again,) = llm.generate("x", SamplingParams(n=2, max_tokens=6, ignore_eos=True))
    assert [o.token_ids for o in again.outputs] == [o.token_ids for o in out.outputs[:2]]
    for output in out.outputs:
        assert len(output.logprobs) == len(output.token_ids)
        chosen = output.logprobs[0][output.token_ids[0]]
        assert (chosen.logprob, chosen.rank) == (-0.5, 1)
        assert output.cumulative_logprob == pytest.approx(-0.5 * 6)


def test_the_seed_of_the_engine_changes_samples_only(fake_model):
    sampled, greedy = SamplingParams(max_tokens=9, ignore_eos=True), GREEDY
    found = {}
    for seed in (1, 2):
        with LLM(fake_model, core=fake_core, seed=seed) as llm:
            found[seed] = [llm.generate("x", p)[0].token_ids for p in (sampled, greedy)]
    assert found[1][0] != found[2][0]
    assert found[1][1] == found[2][1]


def test_end_of_text_is_not_text(llm):
    params = SamplingParams(allowed_token_ids=[fake_core.EOS], max_tokens=4)
    (out,) = llm.generate("x", params)
    assert (out.token_ids, out.text, out.finish_reason) == ([fake_core.EOS], "", "stop")
    assert out.outputs[0].stop_reason is None


def test_a_stop_id_ends_and_is_no_text(llm):
    (out,) = llm.generate("x", SamplingParams(allowed_token_ids=[50], stop_token_ids=[50]))
    assert (out.token_ids, out.text, out.outputs[0].stop_reason) == ([50], "", 50)


def test_more_end_ids_of_generation_config(fake_model):
    (fake_model / "generation_config.json").write_text('{"eos_token_id": [2, 77]}')
    with LLM(fake_model, core=fake_core) as llm:
        (out,) = llm.generate("x", SamplingParams(allowed_token_ids=[77]))
        assert (out.token_ids, out.text, out.finish_reason) == ([77], "", "stop")
        (out,) = llm.generate("x", SamplingParams(allowed_token_ids=[77], ignore_eos=True))
        assert len(out.token_ids) == 16


@pytest.mark.parametrize("value", ['"a"', "-1", "[1, -1]", "1.5", "true", '{"a": 1}'])
def test_a_broken_generation_config_is_refused(fake_model, value):
    (fake_model / "generation_config.json").write_text(f'{{"eos_token_id": {value}}}')
    with pytest.raises(PenstockError, match="eos_token_id"):
        LLM(fake_model, core=fake_core).generate("x")


def test_scoring(llm):
    one, two = llm.score(["some text here", [0, 5, 6]])
    assert one.logprobs[0] is None and len(one.logprobs) == len(one.prompt_token_ids)
    assert one.total == pytest.approx(sum(one.logprobs[1:]))
    assert two.prompt is None and len(two.logprobs) == 3
    (out,) = llm.generate("some text here", SamplingParams(prompt_logprobs=True))
    assert out.prompt_logprobs == one.logprobs


def test_chat_and_many_chats(llm):
    hello = [{"role": "user", "content": "Hello"}]
    (one,) = llm.chat(hello, GREEDY)
    two = llm.chat([hello, [*hello, {"role": "assistant", "content": "Hi"}]], GREEDY)
    assert one.text == two[0].text != two[1].text
    assert "User: Hello" in llm.tokenizer.decode(one.prompt_token_ids)


def test_the_engine_is_made_anew_only_when_work_does_not_fit(fake_model):
    made = []

    class Core:
        EngineOptions, Request, Sampling = (
            fake_core.EngineOptions,
            fake_core.Request,
            fake_core.Sampling,
        )

        @staticmethod
        def Engine(options, packing=None):  # noqa: N802
            made.append(options)
            return fake_core.Engine(options)

    with LLM(fake_model, core=Core) as llm:
        llm.generate(["a long enough prompt to begin with"] * 4, GREEDY)
        llm.generate("short", GREEDY)
        assert len(made) == 1
        llm.generate("short", SamplingParams(max_tokens=200))
        assert len(made) == 2
        llm.generate(["x"] * 9, GREEDY)
        assert len(made) == 3
    first = made[0]
    assert (first.expected_rows, first.max_new, first.mean_new) == (4, 8, 8)
    assert first.max_prompt == first.mean_prompt > 3
    assert first.reserved_host_memory >= 0


def test_a_failed_call_leaves_the_engine_usable(llm):
    with pytest.raises(InvalidArgumentError, match="too long"):
        llm.generate(["fine", [5] * 600], GREEDY)
    assert len(llm.generate("fine", GREEDY)) == 1
    assert llm.stats()["active"] == 0


@pytest.mark.parametrize("params", [{"max_tokens": 2}, [None], ["a"], 5])
def test_what_are_no_parameters_is_refused(llm, params):
    with pytest.raises(InvalidArgumentError, match="sampling_params: found .*allowed: Sampling"):
        llm.generate(["x"], params)


@pytest.mark.parametrize("prompt", [[], [1.5], [-1], ["a", 5], {"a": 1}, 5, None, [None], {}, b"a"])
def test_what_is_no_prompt_is_refused(llm, prompt):
    with pytest.raises((InvalidArgumentError, TypeError)):
        if not llm.generate(prompt, GREEDY):
            raise TypeError("an empty list is no prompt at all")


def test_options_are_checked_by_name(fake_model):
    for options, name in (
        ({"host_memory": "4G"}, "host_memory"),
        ({"disk_memory": -1}, "disk_memory"),
        ({"threads": -1}, "threads"),
        ({"threads": True}, "threads"),
        ({"seed": 1 << 64}, "seed"),
        ({"weights": 4}, "weights"),
        ({"special_tokens": 1}, "special_tokens"),
        ({"invariant": "no"}, "invariant"),
        ({"pin_threads": 1}, "pin_threads"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"policy": "no-such-file"}, "policy"),
    ):
        with pytest.raises(PenstockError, match=name):
            LLM(fake_model, core=fake_core, **options)
    with pytest.raises(PenstockError, match="model"):
        LLM("", core=fake_core)


def test_policies_of_every_form(tmp_path):
    (tmp_path / "p.json").write_text('{"micro_batch": 4}')
    texts = [
        EngineSettings.make("dummy:m", policy=p).policy
        for p in ({"micro_batch": 4}, '{"micro_batch": 4}', str(tmp_path / "p.json"), "auto")
    ]
    assert texts == ['{"micro_batch": 4}'] * 3 + [""]


def test_plan_logits_and_stats(llm):
    assert llm.stats() == {}
    assert llm.plan(Workload(expected_rows=3))["isa"] == "fake"
    assert len(llm.logits([1, 2, 3])) == 3
    llm.generate("x", GREEDY)
    stats = llm.stats()
    assert stats["lanes"]["compute"]["bytes"] == 1 << 20
    assert stats["generated_tokens"] > 0


def test_a_folder_without_tokenizer_takes_ids(fake_model):
    (fake_model / "tokenizer.json").unlink()
    with LLM(fake_model, core=fake_core) as llm:
        (out,) = llm.generate([[4, 5, 6]], GREEDY)
        assert out.token_ids and out.text == ""
        with pytest.raises(NotFoundError, match="token ids"):
            llm.generate("text", GREEDY)
        with pytest.raises(InvalidArgumentError, match="tokenizer"):
            llm.generate([[4, 5]], SamplingParams(stop="x"))


TALK = [{"role": "user", "content": "What is red?"}]


def test_a_conversation_goes_on_to_the_end_of_the_context(llm):
    to_the_end = SamplingParams(max_tokens=None, ignore_eos=True)
    (text,) = llm.generate("A text.", sampling_params=to_the_end)
    assert len(text.prompt_token_ids) + len(text.token_ids) == fake_core.CONTEXT
    assert text.finish_reason == "length"
    (talk,) = llm.chat(TALK)
    assert talk.finish_reason == "stop" or (
        len(talk.prompt_token_ids) + len(talk.token_ids) == fake_core.CONTEXT
    )
    (limited,) = llm.chat(TALK, SamplingParams(ignore_eos=True))
    assert len(limited.token_ids) == 16
    assert len(llm.generate("A text.")[0].token_ids) <= 16


def test_a_prompt_that_fills_the_context_leaves_no_room(llm):
    with pytest.raises(InvalidArgumentError, match="too long") as caught:
        llm.generate([[5] * fake_core.CONTEXT], SamplingParams(max_tokens=None))
    assert caught.value.field == "prompt"


def test_names_of_vllm_are_taken(fake_model):
    with LLM(
        fake_model, core=fake_core, max_model_len=64, dtype="auto", tensor_parallel_size=1
    ) as (llm):
        assert llm.get_tokenizer() is llm.tokenizer
        assert llm.get_tokenizer().decode(llm.get_tokenizer().encode("blue")) == "blue"
        by_name = llm.generate("x", sampling_params=GREEDY, use_tqdm=False, lora_request=None)
        assert by_name == llm.generate("x", params=GREEDY) == llm.generate("x", GREEDY)
        with pytest.raises(InvalidArgumentError, match="the context is 64"):
            llm.generate("x", SamplingParams(max_tokens=64))


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("tensor_parallel_size", 2, "cuda:0,cuda:1"),
        ("gpu_memory_utilization", 0.9, "device_memory"),
        ("quantization", "awq", "weights="),
        ("trust_remote_code", True, "no code of a model"),
        ("speculative_config", {"model": "x"}, ""),
    ],
)
def test_what_penstock_does_not_do_is_refused_by_name(fake_model, name, value, instead):
    with pytest.raises(UnsupportedError, match=name) as caught:
        LLM(fake_model, core=fake_core, **{name: value})
    assert instead in str(caught.value) and caught.value.field == name


def test_unknown_options_of_calls_are_refused_by_name(llm):
    with pytest.raises(UnsupportedError, match="generate: lora_request"):
        llm.generate("x", lora_request=object())
    with pytest.raises(UnsupportedError, match="chat: continue_final_message"):
        llm.chat(TALK, continue_final_message=True)
    with pytest.raises(InvalidArgumentError, match="generate: unknown option 'prompt_adaptor'"):
        llm.generate("x", prompt_adaptor=1)
    for given in ({"params": GREEDY, "sampling_params": GREEDY}, {"use_tqdm": "yes"}):
        with pytest.raises(InvalidArgumentError, match="sampling_params|use_tqdm"):
            llm.generate("x", **given)
    with pytest.raises(InvalidArgumentError, match="max_model_len and max_context"):
        LLM("dummy:fake", core=fake_core, max_model_len=64, max_context=32)


def test_a_bar_counts_the_prompts(llm, capsys):
    class Bar:
        def __init__(self, total, desc):
            self.total, self.done = total, 0
            made.append(self)

        def update(self, count):
            self.done += count

        def close(self):
            self.closed = True

    made = []
    llm.generate(["a", "b", "c"], GREEDY, use_tqdm=Bar)
    assert (made[0].total, made[0].done, made[0].closed) == (3, 3, True)
    llm.generate(["a", "b"], GREEDY, use_tqdm=True)
    shown = capsys.readouterr()
    assert "2/2" in shown.err and not shown.out


def test_what_is_done_before_the_first_prompt_is_shown_with_the_bar(fake_model, capsys):
    policy = {"packed": [0, 1 << 30, 4 << 30]}
    with LLM(fake_model, core=fake_core, policy=policy) as llm:
        llm.generate("a", GREEDY, use_tqdm=True)
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("loading ")
        assert lines[1:3] == [
            f"packing the weights: {n} of 4.0 GiB ..." for n in ("0 B", "4.0 GiB")
        ]
        llm.close()
        llm.generate("a", GREEDY)
        llm.score("a")
        assert capsys.readouterr() == ("", "")
        llm.close()
        llm.score("a", use_tqdm=True)
        assert "packing the weights" in capsys.readouterr().err


def test_template_variables_reach_the_template(llm):
    shout = "{% if loud %}{{ messages[0].content | upper }}{% else %}quiet{% endif %}"
    given = {"chat_template": shout, "sampling_params": GREEDY}
    loud = llm.chat(TALK, chat_template_kwargs={"loud": True}, **given)
    assert llm.tokenizer.decode(loud[0].prompt_token_ids) == "WHAT IS RED?"
    assert llm.tokenizer.decode(llm.chat(TALK, **given)[0].prompt_token_ids) == "quiet"
    open_end, closed = (
        llm.chat(TALK, GREEDY, add_generation_prompt=wanted)[0] for wanted in (True, False)
    )
    assert len(open_end.prompt_token_ids) > len(closed.prompt_token_ids)
    special = llm.tokenizer.specials[0]
    with pytest.raises(InvalidArgumentError, match="special token"):
        llm.chat(TALK, chat_template_kwargs={"name": f"x{special}"})
    with pytest.raises(InvalidArgumentError, match="not JSON"):
        llm.chat(TALK, chat_template_kwargs={"name": object()})
