"""The job with the pretended engine: what goes in, what comes out, what is refused."""

import json
import os
import resource

import pytest
from penstock.errors import (
    BudgetError,
    InvalidArgumentError,
    JobChangedError,
    NotFoundError,
    PenstockError,
)
from penstock.job.journal import journal_path
from penstock.job.manifest import manifest_path
from penstock.job.options import JobHooks, JobOptions
from penstock.job.rows import MAX_LINE_BYTES
from penstock.job.run import run_job
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.util import exitcodes
from python.conftest import FAKE_WORKER

GREEDY = SamplingParams(temperature=0.0, max_tokens=8)


def rows(count, **more):
    return [{"id": i, "prompt": f"Row number {i} says", **more} for i in range(count)]


def test_every_row_has_one_record(job):
    result = job.write(rows(40)).run()
    assert result.exit_code == exitcodes.OK
    assert sorted(r["id"] for r in job.records()) == list(range(40))
    first = job.by_id()[0]
    assert set(first) == {"id", "text", "token_ids", "finish_reason", "usage"}
    assert first["usage"]["completion_tokens"] == len(first["token_ids"]) <= 16
    assert result.report["rows"] == {"total": 40, "done": 40, "errors": 0, "done_before": 0}
    assert result.report["generated_tokens"] == sum(len(r["token_ids"]) for r in job.records())
    assert result.report["stats"]["lanes"]["compute"]["busy_seconds"] == 0.5
    assert result.report["engine"]["isa"] == "fake"


def test_packing_is_shown_when_it_takes_time(job):
    def shown(*packed):
        job.doings.clear()
        job.run(overwrite=True, policy={"packed": list(packed)})
        return [line for line in job.doings if line.startswith("packing")]

    job.write(rows(2))
    assert shown(0, 1 << 20) == []
    lines = shown(0, 1 << 30, 4 << 30)
    assert len(lines) == 2  # the one between comes too soon
    assert "0 B of 4.0 GiB" in lines[0] and "4.0 GiB of 4.0 GiB" in lines[1]


def test_a_complete_job_does_nothing(job):
    job.write(rows(5)).run()
    before = job.output.read_bytes(), os.stat(journal_path(job.output)).st_mtime_ns
    result = job.run()
    assert (result.exit_code, result.report) == (exitcodes.OK, {})
    assert before == (job.output.read_bytes(), os.stat(journal_path(job.output)).st_mtime_ns)


def test_zero_rows_are_a_success(job):
    for content in (b"", b"\n\r\n  \n"):
        job.input.write_bytes(content)
        assert job.run(overwrite=True).exit_code == exitcodes.OK
        assert job.output.read_bytes() == b""
        assert job.run().exit_code == exitcodes.OK


def test_bom_crlf_blank_lines_and_no_final_newline(job):
    lines = [b'\xef\xbb\xbf{"id":1,"prompt":"a"}\r', b"", b"  \t", b'{"id":2,"prompt":"b"}\r']
    job.input.write_bytes(b"\n".join([*lines, b'{"id":3,"prompt":"c"}']))
    assert job.run().exit_code == exitcodes.OK
    assert sorted(job.by_id()) == [1, 2, 3]


def test_bad_rows_hurt_only_themselves(job):
    good = rows(30)
    bad = [
        b"{",
        b'{"id":"utf","prompt":"\xff"}',
        {"id": "none"},
        {"id": "both", "prompt": "x", "messages": [{"role": "user", "content": "x"}]},
        {"id": "long", "prompt": list(range(4, 600))},
        {"id": "sum", "prompt": [5] * 500, "max_tokens": 20},
        {"id": "score-long", "prompt": [5] * 513, "score": True},
        {"id": "vocabulary", "prompt": [5, 4096]},
        {"id": 7, "prompt": "an id that row 7 has"},
        {"id": "field", "prompt": "x", "promt": 1},
        {"id": "surrogate", "prompt": "\ud800"},
        {"id": "template", "messages": [{"role": "user", "content": 1}]},
        b'{"id":"' + b"x" * MAX_LINE_BYTES + b'","prompt":"x"}',
    ]
    result = job.write([*good[:15], *bad, *good[15:]]).run(GREEDY)
    assert result.exit_code == exitcodes.ROW_ERRORS
    records = job.records()
    assert len(records) == 30 + len(bad)
    errors = {r["error"]["line"]: r["error"] for r in records if "error" in r}
    assert sorted(errors) == list(range(16, 16 + len(bad)))
    said = [errors[16 + i] for i in range(len(bad))]
    assert [e["code"] for e in said] == [
        *("malformed", "malformed", "invalid_argument", "invalid_argument", "invalid_argument"),
        *("invalid_argument", "invalid_argument", "invalid_argument", "duplicate_id"),
        *("invalid_argument", "invalid_argument", "invalid_argument", "malformed"),
    ]
    assert "596 prompt tokens" in said[4]["message"] and "512" in said[4]["message"]
    assert "500 prompt tokens + max_tokens 20" in said[5]["message"]
    assert "513" in said[6]["message"]
    alone = job.output.read_bytes()
    good_lines = {line for line in alone.splitlines() if b'"error"' not in line}
    job.write(good).run(GREEDY, overwrite=True)
    assert good_lines == set(job.output.read_bytes().splitlines())


def test_a_complete_job_with_errors_says_so_again(job):
    job.write([*rows(3), {"id": "x"}]).run()
    assert job.run().exit_code == exitcodes.ROW_ERRORS
    assert len(job.records()) == 4


def test_every_kind_of_row(job):
    chat = [{"role": "user", "content": "Hello there"}]
    job.write(
        [
            {"id": "ids", "prompt": [0, 50, 60], "temperature": 0},
            {"id": "chat", "messages": chat},
            {"id": "score", "prompt": "Some text", "score": True},
            {"id": "n", "prompt": "x", "n": 3, "logprobs": 2, "max_tokens": 4},
            {"id": "prompt", "prompt": "a b c", "prompt_logprobs": True},
            {"custom_id": "o", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}},
            {
                **{"custom_id": "oc", "method": "POST", "url": "/v1/chat/completions"},
                "body": {"messages": chat, "max_tokens": 3},
            },
            {"custom_id": "bad", "method": "POST", "url": "/v1/completions", "body": {}},
        ]
    )
    assert job.run().exit_code == exitcodes.ROW_ERRORS
    found = job.by_id()
    assert len(found) == 8
    assert found["score"]["prompt_logprobs"][0] is None
    assert len(found["score"]["prompt_logprobs"]) == found["score"]["usage"]["prompt_tokens"]
    assert len(found["prompt"]["prompt_logprobs"]) == len(found["prompt"]["prompt_token_ids"])
    assert [len(o["logprobs"]) for o in found["n"]["outputs"]] == [
        len(o["token_ids"]) for o in found["n"]["outputs"]
    ]
    assert len({tuple(o["token_ids"]) for o in found["n"]["outputs"]}) > 1
    assert found["o"]["response"]["body"]["choices"][0]["text"]
    assert found["oc"]["response"]["body"]["choices"][0]["message"]["role"] == "assistant"
    assert found["bad"]["response"]["status_code"] == 400
    assert found["bad"]["error"]["code"] == "invalid_argument"


def test_stop_strings_end_the_text(job):
    job.write([{"id": "free", "prompt": "x", "ignore_eos": True}]).run(GREEDY)
    text = job.by_id()["free"]["text"]
    stop = text[len(text) // 3 : len(text) // 3 + 4]
    row = {"id": "stop", "prompt": "x", "ignore_eos": True, "stop": ["@@@@", stop]}
    job.write([row]).run(GREEDY, overwrite=True)
    record = job.by_id()["stop"]
    assert record["text"] == text[: text.index(stop)]
    assert (record["finish_reason"], record["stop_reason"]) == ("stop", stop)
    assert len(record["token_ids"]) < 8


def test_results_depend_on_seed_and_id_alone(job):
    job.write(rows(30)).run(seed=5)
    first = {r["id"]: r for r in job.records()}
    job.write(rows(30)[::-1] + [{"id": "more", "prompt": "and more"}]).run(seed=5, overwrite=True)
    second = {r["id"]: r for r in job.records()}
    assert all(first[i] == second[i] for i in range(30))
    job.write(rows(30)).run(seed=6, overwrite=True)
    assert any(first[r["id"]] != r for r in job.records())


def test_a_rows_own_seed(job):
    job.write([{"id": i, "prompt": "same", "seed": 3} for i in range(4)]).run()
    assert len({tuple(r["token_ids"]) for r in job.records()}) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda j: j.write(rows(6)), "input"),
        (lambda j: (j.model / "config.json").write_text('{"model_type": "other"}'), "config.json"),
        (lambda j: (j.model / "tokenizer_config.json").write_text("{}"), "tokenizer_config.json"),
        (
            lambda j: (j.model / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"{}"),
            "model",
        ),
    ],
)
def test_a_changed_model_or_input_is_refused(job, change, words):
    job.write(rows(5)).run()
    before = job.output.read_bytes()
    change(job)
    with pytest.raises(JobChangedError, match=words) as caught:
        job.run()
    assert "--overwrite" in str(caught.value)
    assert job.output.read_bytes() == before
    job.run(overwrite=True)
    assert len(job.records()) == len(job.input.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("settings", "sampling", "words"),
    [
        ({"seed": 1}, None, "seed was 0 and is 1"),
        ({"weights": "int4"}, None, 'weights was "auto" and is "int4"'),
        ({"kv": "int8"}, None, "kv"),
        ({"compute": "exact"}, None, "compute"),
        ({"invariant": False}, None, "invariant was true and is false"),
        ({"max_context": 100}, None, "max_context"),
        ({"special_tokens": True}, None, "special_tokens"),
        ({}, SamplingParams(top_k=5), "top_k was the default and is 5"),
    ],
)
def test_changed_settings_are_refused_by_name(job, settings, sampling, words):
    job.write(rows(3)).run()
    with pytest.raises(JobChangedError, match=words):
        job.run(sampling, **settings)


def test_budgets_policy_threads_and_places_may_change(job, tmp_path):
    job.write(rows(5)).run()
    result = job.run(
        host_memory="3GiB",
        threads=2,
        policy='{"eos_every": 5}',
        disk=str(tmp_path),
        disk_memory="1GB",
    )
    assert result.exit_code == exitcodes.OK
    assert len(job.records()) == 5


def test_outputs_that_are_not_ours_are_refused(job):
    job.write(rows(2))
    job.output.write_text("precious\n")
    with pytest.raises(JobChangedError, match="not the output of a job"):
        job.run()
    assert job.output.read_text() == "precious\n"
    assert not journal_path(job.output).exists()
    job.run(overwrite=True)
    assert len(job.records()) == 2


def test_places_that_cannot_work_are_refused(job, tmp_path):
    job.write(rows(2))
    job.output = job.input
    with pytest.raises(InvalidArgumentError, match="same file"):
        job.run()
    job.output = tmp_path / "no" / "out.jsonl"
    with pytest.raises(NotFoundError, match="no such folder"):
        job.run()
    job.output = tmp_path / "out.jsonl"
    job.input = tmp_path / "missing.jsonl"
    with pytest.raises(NotFoundError, match="missing"):
        job.run()
    job.input = tmp_path
    with pytest.raises(InvalidArgumentError, match="regular"):
        job.run()
    os.mkfifo(tmp_path / "pipe")
    job.input = tmp_path / "pipe"
    with pytest.raises(InvalidArgumentError, match="regular"):
        job.run()


def test_an_output_that_is_a_folder_or_device(job, tmp_path):
    job.write(rows(2))
    for output in (tmp_path / "folder", tmp_path / "pipe"):
        output.mkdir() if output.name == "folder" else os.mkfifo(output)
        job.output = output
        with pytest.raises(PenstockError):
            job.run(overwrite=output.name == "pipe")


def test_a_missing_model_is_refused(job, tmp_path):
    job.write(rows(2))
    job.model = tmp_path / "nothing"
    with pytest.raises(NotFoundError, match="nothing"):
        job.run()


def test_what_the_engine_refuses_leaves_nothing_behind(job):
    job.write(rows(2))
    with pytest.raises(BudgetError, match="1048576"):
        job.run(host_memory="1KiB")
    assert not job.output.exists()
    assert not journal_path(job.output).exists()
    assert not manifest_path(job.output).exists()


def test_prompts_must_be_ids_without_a_tokenizer(job):
    (job.model / "tokenizer.json").unlink()
    job.write([{"id": 1, "prompt": [4, 5]}, {"id": 2, "prompt": "text"}])
    job.write([{"id": 1, "prompt": [4, 5]}, {"id": 2, "prompt": "text"}])
    assert job.run().exit_code == exitcodes.ROW_ERRORS
    assert job.by_id()[1]["token_ids"]
    assert "token ids" in job.by_id()[2]["error"]["message"]


def test_records_are_valid_json_whatever_the_ids(job):
    ids = ["\ud800", "tab\t", "\u2028", "é", 'q"', 0, -5, "0", 1 << 63]
    job.write([{"id": i, "prompt": "x"} for i in ids]).run()
    assert sorted(map(repr, (r["id"] for r in job.records()))) == sorted(map(repr, ids))


def test_duplicates_of_every_kind(job):
    lines = [{"id": 1, "prompt": "a"}, {"id": "1", "prompt": "b"}, {"id": 1, "prompt": "c"}]
    lines += [{"id": 1, "prompt": "d"}, {"custom_id": "1", "url": "/v1/completions", "body": {}}]
    job.write(lines).run()
    codes = [r["error"]["code"] for r in job.records() if r.get("error")]
    assert sorted(codes) == ["duplicate_id", "duplicate_id", "invalid_argument"]


def test_an_id_that_comes_twice_is_the_fault_of_its_batch_row(job):
    row = {"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "x"}}
    job.write([row, row]).run()
    assert sorted(r["response"]["status_code"] for r in job.records()) == [200, 400]


def test_memory_does_not_grow_with_rows(job):
    """A million blank or bad lines cost bytes each, not objects."""
    job.input.write_bytes(b'{"id":1,"prompt":"x"}\n' + b"\n" * 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert job.run().exit_code == exitcodes.OK
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 64 << 20


def test_the_trace_is_written(job, tmp_path):
    job.write(rows(2))
    options = JobOptions(
        job.input, job.output, EngineSettings.make(job.model), trace=str(tmp_path / "t.json")
    )
    run_job(options, JobHooks(worker_command=FAKE_WORKER))
    assert json.loads((tmp_path / "t.json").read_text()) == {"traceEvents": []}


def test_conversations_without_a_limit_are_not_cut_after_16_tokens(job):
    talk = [{"role": "user", "content": "x"}]
    job.write(
        [
            {"id": "own", "messages": talk, "ignore_eos": True},
            {"id": "text", "prompt": "x", "ignore_eos": True},
            {"id": "short", "messages": talk, "ignore_eos": True, "max_tokens": 3},
        ]
    )
    assert job.run().exit_code == exitcodes.OK
    used = {name: record["usage"] for name, record in job.by_id().items()}
    assert used["own"]["prompt_tokens"] + used["own"]["completion_tokens"] == 512
    assert used["text"]["completion_tokens"] == 16
    assert used["short"]["completion_tokens"] == 3


def test_the_jobs_limit_holds_for_conversations(tmp_path, fake_model):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    row = {"id": 1, "messages": [{"role": "user", "content": "x"}], "ignore_eos": True}
    source.write_text(json.dumps(row))
    settings = EngineSettings.make(fake_model)
    used = []
    for limits in (True, False):
        options = JobOptions(
            source, output, settings, SamplingParams(max_tokens=5), True, "", limits
        )
        run_job(options, JobHooks(worker_command=FAKE_WORKER))
        used.append(json.loads(output.read_text())["usage"])
    assert used[0]["completion_tokens"] == 5
    assert used[1]["prompt_tokens"] + used[1]["completion_tokens"] == 512
