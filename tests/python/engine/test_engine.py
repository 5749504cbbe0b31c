"""The driver on the real engine, with the small model that comes with the repository."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from faults.kill_job import Killer
from penstock import LLM, SamplingParams
from penstock.cli.evaluate import Windows, perplexity
from penstock.cli.materialise import materialise
from penstock.errors import BudgetError, InvalidArgumentError
from python.conftest import HERE, MODELS

PROMPTS = [
    "The function returns a list of",
    "This option is used to",
    "If the file does not exist, the command",
    "The",
    "Each line of the configuration file contains a key and a value, separated by",
] * 3
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
BUDGET = "64MiB"


@pytest.fixture(scope="module")
def model():
    return MODELS / "penstock-opt-5m"


@pytest.fixture(scope="module")
def llm(model):
    with LLM(model, host_memory=BUDGET) as made:
        yield made


def penstock(*words):
    command = [sys.executable, "-m", "penstock", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_greedy_follows_the_logits(llm):
    (out,) = llm.generate("The function returns", GREEDY)
    ids = out.prompt_token_ids + out.token_ids
    logits = llm.logits(ids)
    assert logits.shape == (len(ids), 4096) and logits.dtype == np.float32
    begin = len(out.prompt_token_ids) - 1
    assert list(np.argmax(logits[begin:-1], axis=1)) == out.token_ids


def test_scores_are_log_softmax_of_the_logits(llm):
    (scored,) = llm.score("The function returns a list of strings.")
    ids = scored.prompt_token_ids
    logits = llm.logits(ids).astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    for i, found in enumerate(scored.logprobs[1:], 1):
        assert found == pytest.approx(expected[i - 1, ids[i]], abs=1e-4)
    (out,) = llm.generate(
        "The function returns a list of strings.", SamplingParams(prompt_logprobs=True)
    )
    assert out.prompt_logprobs == scored.logprobs


def test_log_probabilities_of_generated_tokens(llm):
    params = SamplingParams(temperature=0.0, max_tokens=6, logprobs=3, ignore_eos=True)
    (out,) = llm.generate("This option", params)
    for token, entries in zip(out.token_ids, out.logprobs, strict=True):
        assert entries[token].rank == 1
        ordered = [e.logprob for e in entries.values() if e.rank]
        assert ordered == sorted(ordered, reverse=True) and len(ordered) == 3


def test_batch_and_order_change_nothing(llm, model):
    together = llm.generate(PROMPTS, GREEDY)
    assert [o.token_ids for o in together[:5]] == [o.token_ids for o in together[5:10]]
    alone = [llm.generate(p, GREEDY)[0].token_ids for p in PROMPTS[:5]]
    assert alone == [o.token_ids for o in together[:5]]
    with LLM(model, host_memory=BUDGET, threads=1, policy={"micro_batch": 2}) as other:
        assert [o.token_ids for o in other.generate(PROMPTS, GREEDY)] == [
            o.token_ids for o in together
        ]


def test_samples_depend_on_their_seed_alone(llm):
    params = SamplingParams(n=3, max_tokens=10, seed=5, ignore_eos=True)
    one = llm.generate(PROMPTS[0], params)[0]
    many = llm.generate(PROMPTS[:6], params)
    assert [o.token_ids for o in one.outputs] == [o.token_ids for o in many[0].outputs]
    assert len({tuple(o.token_ids) for o in one.outputs}) == 3
    assert many[0].outputs[1].token_ids == many[5].outputs[1].token_ids


def test_penalties_bias_and_allowed_ids_reach_the_engine(llm):
    (plain,) = llm.generate("The", GREEDY)
    allowed = SamplingParams(max_tokens=9, allowed_token_ids=[40, 41])
    assert set(llm.generate("The", allowed)[0].token_ids) <= {40, 41}
    biased = SamplingParams(temperature=0.0, max_tokens=4, logit_bias={77: 100.0})
    assert llm.generate("The", biased)[0].token_ids == [77] * 4
    penalised = SamplingParams(
        temperature=0.0, max_tokens=40, frequency_penalty=2.0, ignore_eos=True
    )
    tokens = llm.generate("The", penalised)[0].token_ids
    assert len(set(tokens)) > len(set(plain.token_ids))


def test_stop_strings_and_ids(llm):
    (free,) = llm.generate("The function returns", GREEDY)
    stop = free.text[5:9]
    (out,) = llm.generate(
        "The function returns",
        SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True, stop=stop),
    )
    assert out.text == free.text[: free.text.index(stop)] and out.finish_reason == "stop"
    params = SamplingParams(
        temperature=0.0, max_tokens=12, ignore_eos=True, stop_token_ids=[free.token_ids[3]]
    )
    (out,) = llm.generate("The function returns", params)
    assert out.token_ids == free.token_ids[: free.token_ids.index(free.token_ids[3]) + 1]
    assert out.outputs[0].stop_reason == free.token_ids[3]


def test_refusals_name_the_smallest_budget_and_it_works(model, tmp_path):
    """Without a tokenizer, whose measured memory is part of the budget."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, tmp_path / name)
    with pytest.raises(BudgetError, match="host_memory") as caught:
        LLM(tmp_path, host_memory="1MiB").generate([[5, 6]], GREEDY)
    smallest = int("".join(c for c in caught.value.allowed if c.isdigit()))
    with LLM(tmp_path, host_memory=smallest) as llm:
        assert len(llm.generate([[5, 6]], GREEDY)[0].token_ids) == 12
        assert llm.stats()["peak_bytes"]["host"] <= smallest


def test_rows_that_the_engine_refuses(llm):
    for prompt in ([4096], [1 << 30]):
        with pytest.raises(InvalidArgumentError):
            llm.generate([prompt], GREEDY)
    with pytest.raises(InvalidArgumentError, match="allowed_token_ids|4096"):
        llm.generate("x", SamplingParams(allowed_token_ids=[5000]))
    assert len(llm.generate("x", GREEDY)) == 1


def test_the_command_gives_what_the_library_gives(llm, model, tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": i, "prompt": p} for i, p in enumerate(PROMPTS)]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    words = ["--temperature", 0, "--max-tokens", 12, "--ignore-eos", "--host-memory", BUDGET]
    report, trace = tmp_path / "report.json", tmp_path / "trace.json"
    files = ["--input", source, "--output", output]
    found = penstock("run", model, *files, *words, "--report", report, "--trace", trace)
    assert found.returncode == 0, found.stderr
    records = {r["id"]: r for r in map(json.loads, output.read_text().splitlines())}
    expected = llm.generate(PROMPTS, GREEDY)
    assert [records[i]["token_ids"] for i in range(15)] == [o.token_ids for o in expected]
    assert [records[i]["text"] for i in range(15)] == [o.text for o in expected]
    assert "tokens/s" in found.stdout and "Memory" in found.stdout
    written = json.loads(report.read_text())
    assert written["generated_tokens"] == 12 * 15
    assert written["stats"]["peak_bytes"]["host"] <= 64 << 20
    for lane, predicted in written["stats"]["predicted_bytes"].items():
        assert written["stats"]["lanes"][lane]["bytes"] == predicted
    assert json.loads(trace.read_text())["traceEvents"]
    again = penstock("run", model, *files, *words)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    changed = penstock("run", model, *files, *words, "--top-k", 3)
    assert changed.returncode == 2 and "top_k" in changed.stderr


def test_killed_ten_times_with_weights_on_disk(model, tmp_path):
    killer = Killer(model, tmp_path, ["--host-memory", "20MiB"], rows=24, seed=1)
    found = killer.run(10)
    assert found["kills"] == 10
    assert found["identical"]


def test_perplexity_windows(llm, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The function returns a list of strings. If the file is empty, it fails.\n" * 6)
    whole, halves = (perplexity(llm, text, Windows(n)) for n in (256, 64))
    assert whole["tokens"] == halves["tokens"] and halves["windows"] > whole["windows"]
    assert 1 < whole["perplexity"] < halves["perplexity"] < 1e5


class _TinyShape:
    """A core whose only dummy is small."""

    @staticmethod
    def dummy_config(name):
        config = json.loads((MODELS / "penstock-opt-5m" / "config.json").read_text())
        config.pop("torch_dtype", None)
        return json.dumps({**config, "dtype": "float16"})

    @staticmethod
    def dummy_weights(name):
        path = next((MODELS / "penstock-opt-5m").glob("*.safetensors"))
        raw = path.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return [(k, v["shape"]) for k, v in header.items() if k != "__metadata__"]


def test_a_dummy_written_as_a_folder_is_a_model(tmp_path):
    made = [materialise("dummy:tiny", tmp_path / name, 3, _TinyShape) for name in ("a", "b")]
    assert made[0]["bytes"] == made[1]["bytes"] > 1 << 20
    shards = [sorted((tmp_path / n).glob("*.safetensors")) for n in ("a", "b")]
    assert [p.read_bytes() for p in shards[0]] == [p.read_bytes() for p in shards[1]]
    with LLM(tmp_path / "a", host_memory=BUDGET) as llm:
        (out,) = llm.generate([[5, 6, 7]], GREEDY)
        assert len(out.token_ids) == 12
        logits = llm.logits([5, 6, 7])
        assert np.isfinite(logits).all() and logits.std() > 0
    with pytest.raises(InvalidArgumentError, match="dummy:NAME"):
        materialise(str(HERE), tmp_path / "c", 1, _TinyShape)


def test_dummies_have_the_names_and_shapes_of_checkpoints():
    from penstock import _core

    shapes = dict(_core.dummy_weights("llama-3.2-1b"))
    assert shapes["model.embed_tokens.weight"] == [128256, 2048]
    assert shapes["model.layers.15.mlp.down_proj.weight"] == [2048, 8192]
    assert shapes["model.norm.weight"] == [2048]
    assert "lm_head.weight" not in shapes
    assert len(shapes) == 16 * 9 + 2


def test_plan_and_bench_print_one_object(model):
    printed = json.loads(penstock("plan", model, "--rows", 5, "--host-memory", BUDGET).stdout)
    assert printed["policy"] and printed["memory"]
    words = ["--rows", 4, "--prompt-len", 6, "--new", 3, "--host-memory", BUDGET]
    printed = json.loads(penstock("bench", model, *words).stdout)
    assert (printed["generated_tokens"], printed["stats"]["prompt_tokens"]) == (12, 24)
    rates = '{"disk_read_bytes_per_second": 1e9}'
    printed = json.loads(
        penstock("bench", model, *words, "--as", "flexgen", "--throttle", rates).stdout
    )
    assert printed["engine"]["throttle"] == {"disk_read_bytes_per_second": 1e9}
    policy = printed["engine"]["policy"]
    assert policy["admission"] == "block" and policy["step_barrier"] and policy["whole_tensors"]
    assert not policy["share_prefix"] and policy["overlap"]
    found = penstock("bench", model, *words, "--throttle", '{"h2d_bytes_per_second": 1}')
    assert found.returncode == 2 and "cannot be throttled by" in found.stderr


def test_a_plan_needs_no_weights(model, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(model / "config.json", bare)
    words = ["--rows", 5, "--host-memory", BUDGET, "--weights", "int4"]
    plans = [json.loads(penstock("plan", folder, *words).stdout) for folder in (model, bare)]
    for name in ("policy", "memory", "why", "weights", "parameters"):
        assert plans[0][name] == plans[1][name]
    assert list(bare.iterdir()) == [bare / "config.json"]
    found = penstock("plan", bare, "--device", "abacus")
    assert found.returncode == 2 and "found abacus, allowed cpu" in found.stderr
    found = penstock("bench", bare, "--rows", 1, "--host-memory", BUDGET)
    assert found.returncode != 0 and "safetensors" in found.stderr


def test_quantize_packs_once(model, tmp_path):
    words = ["--weights", "int4", "--host-memory", BUDGET, "--cache", tmp_path / "cache"]
    first, second = (json.loads(penstock("quantize", model, *words).stdout) for _ in range(2))
    assert (first["packed_now"], second["packed_now"]) == (True, False)
    assert any((tmp_path / "cache").rglob("*"))


def test_the_demo_streams_weights_that_do_not_fit_its_budget(model, tmp_path):
    """The demo's own rows and budget: less than the weights, so each sweep reads them from disk."""
    budget = 6 << 20
    assert budget < sum(p.stat().st_size for p in model.glob("*.safetensors"))
    prompts = HERE.parents[1] / "examples" / "prompts" / "demo.jsonl"
    files = ["--input", prompts, "--output", tmp_path / "out", "--report", tmp_path / "report"]
    words = ["--threads", 1, "--max-tokens", 28, "--temperature", 0]
    found = penstock("run", model, *files, *words, "--host-memory", budget)
    assert found.returncode == 0, found.stderr
    stats = json.loads((tmp_path / "report").read_text())["stats"]
    assert stats["peak_bytes"]["host"] <= budget
    assert stats["lanes"]["disk_read"]["bytes"] == stats["predicted_bytes"]["disk_read"]
    assert stats["lanes"]["disk_read"]["bytes"] > 20 * budget
    with LLM(model, host_memory=BUDGET) as llm:
        rows = [json.loads(line) for line in prompts.read_text().splitlines()]
        expected = llm.generate(
            [r["prompt"] for r in rows], SamplingParams(temperature=0.0, max_tokens=28)
        )
    records = map(json.loads, (tmp_path / "out").read_text().splitlines())
    got = {r["id"]: r["token_ids"] for r in records}
    assert [got[r["id"]] for r in rows] == [o.token_ids for o in expected]


def test_on_a_device_with_one_way_only_invariant_changes_nothing(llm, model):
    params = SamplingParams(temperature=0.0, max_tokens=4)
    with LLM(model, host_memory=BUDGET, invariant=False) as other:
        assert other.plan()["invariant"] is False and llm.plan()["invariant"] is True
        found, expected = (each.generate(PROMPTS[:4], params) for each in (other, llm))
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]


def test_the_command_line_gives_invariance_up(model):
    for words, expected in (((), True), (("--no-invariant",), False)):
        found = penstock("plan", model, "--host-memory", BUDGET, *words)
        assert json.loads(found.stdout)["invariant"] is expected
