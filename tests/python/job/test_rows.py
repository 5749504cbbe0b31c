import json

import pytest
from penstock.engine.loop import Finished
from penstock.job.records import encode_record, error_record, result_record
from penstock.job.rows import (
    MAX_LINE_BYTES,
    Row,
    RowDefaults,
    RowRefusedError,
    id_key,
    parse_row,
)
from penstock.outputs import CompletionOutput, Logprob
from penstock.sampling import SamplingParams

PARAMS = RowDefaults(SamplingParams(), SamplingParams(max_tokens=None))
CHAT_URL, URL = "/v1/chat/completions", "/v1/completions"


def batch(url=URL, **body):
    return {"custom_id": "c", "method": "POST", "url": url, "body": {"model": "m", **body}}


def parse(row):
    raw = row if isinstance(row, bytes) else json.dumps(row).encode()
    return parse_row(7, raw, PARAMS)


GOOD = {"id": 1, "prompt": "x"}

BAD = {
    "not json": (b"{", "malformed", "not JSON"),
    "empty object": ({}, "invalid_argument", "id is missing"),
    "array": (b"[1]", "malformed", "not a JSON object"),
    "string": (b'"x"', "malformed", "not a JSON object"),
    "null": (b"null", "malformed", "not a JSON object"),
    "two objects": (b'{"id":1,"prompt":"x"} {}', "malformed", "not JSON"),
    "trailing comma": (b'{"id":1,"prompt":"x",}', "malformed", "not JSON"),
    "invalid utf-8": (b'{"id":1,"prompt":"\xff"}', "malformed", "UTF-8"),
    "overlong utf-8": (b'{"id":1,"prompt":"\xc0\xaf"}', "malformed", "UTF-8"),
    "duplicate key": (b'{"id":1,"id":2,"prompt":"x"}', "malformed", "twice"),
    "duplicate by escape": (b'{"id":1,"\\u0069d":2,"prompt":"x"}', "malformed", "twice"),
    "deep": (b'{"id":1,"prompt":' + b"[" * 40 + b"]" * 40 + b"}", "malformed", "nested"),
    "very deep": (b"[" * 100_000, "malformed", "nested"),
    "nan": (b'{"id":1,"prompt":"x","temperature":NaN}', "malformed", "NaN"),
    "infinity": (b'{"id":1,"prompt":"x","top_p":-Infinity}', "malformed", "Infinity"),
    "huge integer": (b'{"id":1,"prompt":"x","top_k":' + b"9" * 5000 + b"}", "malformed", "JSON"),
    "no id": ({"prompt": "x"}, "invalid_argument", "id is missing"),
    "id null": ({**GOOD, "id": None}, "invalid_argument", "id"),
    "id float": ({**GOOD, "id": 1.5}, "invalid_argument", "id"),
    "id bool": ({**GOOD, "id": True}, "invalid_argument", "id"),
    "id empty": ({**GOOD, "id": ""}, "invalid_argument", "512"),
    "id long": ({**GOOD, "id": "é" * 257}, "invalid_argument", "512"),
    "id huge": ({**GOOD, "id": 1 << 70}, "invalid_argument", "id"),
    "no prompt": ({"id": 1}, "invalid_argument", "neither prompt nor messages"),
    "both": ({**GOOD, "messages": [{"role": "user", "content": "x"}]}, "invalid_argument", "both"),
    "prompt number": ({"id": 1, "prompt": 5}, "invalid_argument", "prompt"),
    "prompt object": ({"id": 1, "prompt": {}}, "invalid_argument", "prompt"),
    "no ids": ({"id": 1, "prompt": []}, "invalid_argument", "prompt"),
    "id negative": ({"id": 1, "prompt": [3, -1]}, "invalid_argument", "-1"),
    "float token": ({"id": 1, "prompt": [3, 1.0]}, "invalid_argument", "prompt"),
    "bool token": ({"id": 1, "prompt": [3, True]}, "invalid_argument", "prompt"),
    "list of prompts": ({"id": 1, "prompt": ["a", "b"]}, "invalid_argument", "prompt"),
    "unknown field": ({**GOOD, "promt": "x"}, "invalid_argument", "unknown field 'promt'"),
    "unsupported field": ({**GOOD, "guided_json": {}}, "unsupported", "guided_json"),
    "temperature": ({**GOOD, "temperature": -1}, "invalid_argument", "temperature"),
    "max_tokens": ({**GOOD, "max_tokens": 0}, "invalid_argument", "max_tokens"),
    "n": ({**GOOD, "n": 100_000}, "invalid_argument", "1024"),
    "stop": ({**GOOD, "stop": [""]}, "invalid_argument", "stop"),
    "logit_bias": ({**GOOD, "logit_bias": {"x": 1}}, "invalid_argument", "logit_bias"),
    "score text": ({**GOOD, "score": "yes"}, "invalid_argument", "score"),
    "score number": ({**GOOD, "score": 1}, "invalid_argument", "score"),
    "score chat": (
        {"id": 1, "score": True, "messages": [{"role": "user", "content": "x"}]},
        "invalid_argument",
        "score",
    ),
    "messages": ({"id": 1, "messages": "hello"}, "invalid_argument", "messages"),
    "batch url": (batch("/v1/embeddings", prompt="x"), "unsupported", "url"),
    "batch method": ({**batch(prompt="x"), "method": "GET"}, "invalid_argument", "method"),
    "batch body": ({"custom_id": "c", "url": URL, "body": 3}, "invalid_argument", "body"),
    "batch field": ({**batch(prompt="x"), "extra": 1}, "invalid_argument", "extra"),
    "batch messages": (batch(messages=[]), "invalid_argument", "prompt"),
    "batch chat prompt": (batch(CHAT_URL, prompt="x"), "invalid_argument", "messages"),
    "batch stream": (batch(prompt="x", stream=True), "unsupported", "stream"),
    "batch echo": (batch(prompt="x", echo=True), "unsupported", "echo"),
    "batch tools": (
        batch(CHAT_URL, messages=[{"role": "user", "content": "x"}], tools=[{}]),
        "unsupported",
        "tools",
    ),
    "batch top_logprobs": (
        batch(CHAT_URL, messages=[{"role": "user", "content": "x"}], top_logprobs=3),
        "invalid_argument",
        "logprobs",
    ),
    "batch score": (batch(prompt="x", score=True), "invalid_argument", "score"),
    "batch without id": (
        {"method": "POST", "url": URL, "body": {}},
        "invalid_argument",
        "custom_id",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_with_a_reason(name):
    row, code, words = BAD[name]
    with pytest.raises(RowRefusedError) as caught:
        parse(row)
    assert caught.value.error.code == code
    assert words in str(caught.value)
    record = error_record(7, caught.value.id, caught.value.error, caught.value.is_batch)
    line = encode_record(record)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line)["error"]["line"] == 7


def test_a_line_that_is_too_long():
    with pytest.raises(RowRefusedError, match=str(MAX_LINE_BYTES)):
        parse_row(1, None, PARAMS)


def test_the_id_is_kept_when_something_else_is_wrong():
    with pytest.raises(RowRefusedError) as caught:
        parse({"id": "a", "prompt": "x", "n": 0})
    assert caught.value.id == "a" and not caught.value.is_batch
    with pytest.raises(RowRefusedError) as caught:
        parse(batch(prompt="x", n=0))
    assert caught.value.id == "c" and caught.value.is_batch


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"id": "é", "prompt": [1, 2], "max_tokens": 3, "stop": "x", "seed": 5},
        {"id": -3, "prompt": "", "score": True},
        {"id": 2, "messages": [{"role": "user", "content": "x"}], "temperature": None},
        batch(prompt="x", max_tokens=4, user="u", stream=False, echo=False),
        batch(CHAT_URL, messages=[{"role": "user", "content": "x"}], max_completion_tokens=9),
    ],
)
def test_good_rows_survive_the_wire(row):
    parsed = parse(row)
    again = Row.from_wire(json.loads(json.dumps(parsed.to_wire())))
    assert again == parsed
    assert again.line == 7


def test_openai_names_become_ours():
    messages = [{"role": "user", "content": "x"}]
    row = parse(batch(CHAT_URL, messages=messages, max_completion_tokens=9, logprobs=True))
    assert (row.params.max_tokens, row.params.logprobs, row.model) == (9, 0, "m")
    row = parse(batch(CHAT_URL, messages=messages, logprobs=True, top_logprobs=2))
    assert row.params.logprobs == 2
    row = parse(batch(CHAT_URL, messages=messages, logprobs=False))
    assert row.params.logprobs is None


def test_one_and_text_one_are_two_ids():
    assert id_key(1) != id_key("1") != id_key("i1")


def _finished():
    logprobs = [{5: Logprob(-0.5, 1, "a"), 6: Logprob(-1.0, 2, "b")}, {7: Logprob(-3.0, 0, "c")}]
    outputs = [
        CompletionOutput(0, "ac", [5, 7], "stop", "x", -3.5, logprobs),
        CompletionOutput(1, "b\ud800", [6], "length", None, -1.0, logprobs[:1]),
    ]
    outputs[1].logprobs = [{6: Logprob(-1.0, 2, "b")}]
    return Finished(7, 3, outputs, None)


def test_a_plain_record():
    record = result_record(parse(GOOD), [], _finished())
    assert list(record)[:5] == ["id", "text", "token_ids", "finish_reason", "stop_reason"]
    assert record["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert [o["token_ids"] for o in record["outputs"]] == [[5, 7], [6]]
    assert record["logprobs"][0] == {"token": 5, "logprob": -0.5, "top": [[5, -0.5], [6, -1.0]]}
    assert json.loads(encode_record(record))["outputs"][1]["text"] == "b\ud800"


def test_a_score_record():
    row = parse({"id": 1, "prompt": "x", "score": True})
    record = result_record(row, [0, 5, 6], Finished(7, 3, [], [None, -1.0, -2.0]))
    assert record["finish_reason"] == "score"
    assert record["prompt_logprobs"] == [None, -1.0, -2.0]
    assert record["prompt_token_ids"] == [0, 5, 6]


def test_openai_records():
    record = result_record(parse(batch(prompt="x")), [], _finished())
    body = record["response"]["body"]
    assert (record["custom_id"], record["error"], record["response"]["status_code"]) == (
        *("c", None, 200),
    )
    assert body["object"] == "text_completion" and body["model"] == "m"
    assert [c["text"] for c in body["choices"]] == ["ac", "b\ud800"]
    assert body["choices"][0]["logprobs"]["token_logprobs"] == [-0.5, -3.0]
    assert body["choices"][0]["logprobs"]["text_offset"] == [0, 1]
    chat = parse(batch(CHAT_URL, messages=[{"role": "user", "content": "x"}], logprobs=True))
    body = result_record(chat, [], _finished())["response"]["body"]
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "ac"}
    assert body["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]["token"] == "b"


TALK = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize("given", [{}, {"max_tokens": None}])
def test_conversations_without_a_limit_go_on_to_the_end_of_the_context(given):
    assert parse({"id": 1, "messages": TALK, **given}).params.max_tokens is None
    assert parse(batch(CHAT_URL, messages=TALK, **given)).params.max_tokens is None
    assert parse({**GOOD, **given}).params.max_tokens == 16
    assert parse(batch(prompt="x", **given)).params.max_tokens == 16
    again = Row.from_wire(json.loads(json.dumps(parse({"id": 1, "messages": TALK}).to_wire())))
    assert again.params.max_tokens is None


def test_a_limit_of_the_row_holds_for_conversations():
    assert parse({"id": 1, "messages": TALK, "max_tokens": 5}).params.max_tokens == 5
    assert parse(batch(CHAT_URL, messages=TALK, max_completion_tokens=6)).params.max_tokens == 6


def test_template_variables_are_for_conversations():
    kwargs = {"enable_thinking": False}
    row = parse({"id": 1, "messages": TALK, "chat_template_kwargs": kwargs})
    assert Row.from_wire(json.loads(json.dumps(row.to_wire()))).variables == kwargs
    for wrong, words in (([1], "found list"), ({"messages": []}, "messages")):
        with pytest.raises(RowRefusedError, match=words):
            parse({"id": 1, "messages": TALK, "chat_template_kwargs": wrong})
    with pytest.raises(RowRefusedError, match="only for rows with messages"):
        parse({**GOOD, "chat_template_kwargs": kwargs})
