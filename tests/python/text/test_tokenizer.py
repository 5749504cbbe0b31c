import json
import subprocess
import sys
import time

import pytest
from penstock.errors import InvalidArgumentError, MalformedError, NotFoundError
from penstock.text.prompts import PromptEncoder
from penstock.text.stops import StopFinder
from penstock.text.tokenizer import MAX_FILE_BYTES, Detokenizer, Tokenizer

TEXTS = [
    "The quick brown fox.",
    "naïve café — “quotes” … ✓",
    "日本語のテキスト、emoji 👩‍👩‍👧‍👦 and 𝒳",
    "tabs\tand\nnewlines\r\n\x0b\x7f",
    " leading and trailing  ",
    "a" + "\u0301" * 1000,
]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return Tokenizer.load(tokenizer_folder)


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids[0] == 0
    assert tokenizer.decode(ids) == text
    assert tokenizer.continuation(ids[:1], ids[1:]) == text


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("split", [1, 2, 5])
def test_pieces_join_to_the_text(tokenizer, text, split):
    ids = tokenizer.encode(text, add_special_tokens=False)
    context, rest = ids[:split], ids[split:]
    detokenizer = Detokenizer(tokenizer, context)
    pieces = [detokenizer.push(token) for token in rest]
    whole = tokenizer.continuation(context, rest)
    assert "".join(pieces) == whole
    if "\ufffd" not in tokenizer.decode(context):
        assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_text_do_not_hold_the_rest_back(tokenizer):
    bad = [t for t in range(4096) if tokenizer.decode([t]) == "\ufffd"][:3] * 4
    word = tokenizer.encode("plain words follow", add_special_tokens=False)
    detokenizer = Detokenizer(tokenizer, [])
    text = "".join(detokenizer.push(t) for t in bad + word)
    assert text.endswith("words follow")
    assert "\ufffd" in text


def test_special_tokens_in_prompts_are_text_unless_asked(tokenizer_folder):
    plain, special = (Tokenizer.load(tokenizer_folder, s) for s in (False, True))
    assert plain.encode("a</s>b").count(2) == 0
    assert special.encode("a</s>b").count(2) == 1
    assert plain.decode(plain.encode("a</s>b")) == "a</s>b"


def test_truncation_and_padding_in_the_file_are_ignored(tokenizer_folder):
    content = json.loads((tokenizer_folder / "tokenizer.json").read_bytes())
    content["truncation"] = {
        "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"
    }  # fmt: skip
    content["padding"] = {
        "strategy": {"Fixed": 900}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    tokenizer = Tokenizer(json.dumps(content).encode(), "tokenizer.json")
    ids = tokenizer.encode("one two three four five six")
    assert 1 not in ids
    assert tokenizer.decode(ids) == "one two three four five six"


def _broken(tokenizer_folder, change):
    content = json.loads((tokenizer_folder / "tokenizer.json").read_bytes())
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.clear(),
        lambda t: t["model"].update(type="Nonsense"),
        lambda t: t.update(pre_tokenizer={"type": "Nonsense"}),
        lambda t: t.update(decoder={"type": "Nonsense"}),
        lambda t: t.update(normalizer={"type": "Nonsense"}),
        lambda t: t["model"]["merges"].append(["zzzzzz", "qqqqqq"]),
        lambda t: t["model"].update(vocab={"a": -1}),
        lambda t: t["post_processor"]["special_tokens"].clear(),
        lambda t: t["post_processor"].update(
            single=[{"SpecialToken": {"id": "<x>", "type_id": 0}}]
        ),
        lambda t: t.update(
            pre_tokenizer={
                **{"type": "Split", "pattern": {"Regex": "(unclosed"}},
                **{"behavior": "Isolated", "invert": False},
            }
        ),
        lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    ],
)
def test_broken_files_are_refused(tokenizer_folder, change):
    with pytest.raises(MalformedError, match=r"tokenizer\.json"):
        Tokenizer(_broken(tokenizer_folder, change), "tokenizer.json")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"version https://git-lfs"]
)
def test_files_that_are_no_tokenizer(raw):
    with pytest.raises(MalformedError):
        Tokenizer(raw, "tokenizer.json")


def test_missing_too_large_and_not_a_file(tmp_path):
    with pytest.raises(NotFoundError, match="token ids"):
        Tokenizer.load(tmp_path)
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(MalformedError, match=str(MAX_FILE_BYTES)):
        Tokenizer.load(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(MalformedError, match="regular"):
        Tokenizer.load(tmp_path)


def test_memory_growth_is_measured(tokenizer_folder):
    code = (
        "import sys; from pathlib import Path; from penstock.text.tokenizer import Tokenizer; "
        "print(Tokenizer.load(Path(sys.argv[1])).memory_bytes)"
    )
    command = [sys.executable, "-c", code, str(tokenizer_folder)]
    found = int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert 1 << 19 < found < 1 << 27


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_are_refused(tokenizer_folder, text):
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        PromptEncoder(str(tokenizer_folder)).text(text)


@pytest.mark.parametrize("text", ["x" * (1 << 20), "e" + "\u0301" * 100_000, "\x01" * 100_000])
def test_long_runs_take_bounded_time(tokenizer, text):
    begun = time.monotonic()
    assert len(tokenizer.encode(text)) > 1000
    assert time.monotonic() - begun < 30


def test_an_empty_prompt_is_the_beginning_of_text(tokenizer_folder, tmp_path):
    assert PromptEncoder(str(tokenizer_folder)).text("") == [0]
    raw = _broken(tokenizer_folder, lambda t: t.update(post_processor=None))
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(InvalidArgumentError, match="empty"):
        PromptEncoder(str(tmp_path)).text("")


def _push_all(tokenizer, text, stops, context="", min_tokens=0):
    ids = tokenizer.encode(context + text, add_special_tokens=False)
    begin = len(tokenizer.encode(context, add_special_tokens=False))
    finder = StopFinder(tokenizer, ids[:begin], stops, min_tokens)
    count = next((i + 1 for i, t in enumerate(ids[begin:]) if finder.push(t)), None)
    return finder, count, len(ids) - begin


def test_a_stop_string_across_tokens_is_found(tokenizer):
    for stop in ("ns and mo", " o", "configuration op", "n"):
        text = "configuration options and more text follow"
        finder, count, total = _push_all(tokenizer, text, (stop,))
        assert finder.found == stop
        assert finder.text == text[: text.index(stop)]
        assert count <= total


def test_the_first_and_then_the_longest_stop_counts(tokenizer):
    finder, *_ = _push_all(tokenizer, "one two three", ("three", "two", " two thr", " tw"))
    assert finder.text == "one"
    assert finder.found in (" two thr", " tw")


def test_stops_do_not_match_the_prompt_nor_before_min_tokens(tokenizer):
    finder, count, _ = _push_all(tokenizer, "def other", ("abc",), context="abc ")
    assert (finder.found, count) == (None, None)
    finder, count, _ = _push_all(tokenizer, "x y x y x y x y", ("x",), min_tokens=4)
    assert count > 4
    assert finder.found == "x"


def test_a_stop_inside_a_multi_byte_character_waits_for_it(tokenizer):
    finder, *_ = _push_all(tokenizer, "say 日本 now", ("本",))
    assert finder.text == "say 日"
