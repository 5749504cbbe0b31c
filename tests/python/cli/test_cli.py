"""The command line: what it lists, refuses and prints."""

import json
import subprocess
import sys

import pytest
from penstock.cli import app as cli
from penstock.cli.bench import run_bench, scheduled_as
from penstock.cli.evaluate import Windows, perplexity
from penstock.cli.options import SamplingArgs
from penstock.cli.tables import print_report
from penstock.engine.workload import Workload
from penstock.errors import InvalidArgumentError
from penstock.job.progress import (
    PlainProgress,
    ProgressState,
    format_seconds,
    open_progress,
    progress_text,
)
from penstock.job.report import make_report, write_report
from penstock.llm import LLM
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.util import exitcodes

from python import fake_core


def penstock(*words):
    command = [sys.executable, "-m", "penstock", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_lists_the_commands_and_exit_codes():
    found = penstock("--help")
    assert found.returncode == 0
    for word in ("run", "plan", "probe", "doctor", "quantize", "bench", "eval", "Exit codes"):
        assert word in found.stdout
    assert " serve " not in found.stdout


def test_run_has_the_options_of_the_library():
    text = penstock("run", "--help").stdout
    names = [n for n in SamplingParams.names() if n != "seed"]
    for name in (*names, "host_memory", "device", "disk", "disk_memory", "weights", "kv"):
        assert "--" + name.replace("_", "-") in text
    for name in (
        "compute",
        "no-invariant",
        "policy",
        "machine",
        "throttle",
        "threads",
        "seed",
        "max-context",
        "cache",
    ):
        assert f"--{name}" in text
    assert "--report" in text and "--trace" in text


DUMMY = "dummy:opt-125m"


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("nonsense",),
        ("run", DUMMY, "--input", "i"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--threads", "many"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--tensor-parallel", "2"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--host-memory", "4G"),
        ("run", DUMMY, "--input", "missing", "--output", "o"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--temperature", "nan"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--logit-bias", "{"),
        ("run", DUMMY, "--input", "i", "--output", "o", "--report", "o"),
        ("quantize", DUMMY),
        ("plan", DUMMY, "--html", "missing/plan.html"),
        ("plan", DUMMY, "--report", "r.json"),
        ("bench", DUMMY, "--rows", "0"),
        ("eval", DUMMY, "--text", "missing"),
    ],
)
def test_refusals_have_one_exit_code_and_no_traceback(words):
    found = penstock(*words)
    assert found.returncode == exitcodes.REFUSED
    assert "Traceback" not in found.stderr and "model: " not in found.stderr
    assert found.stderr.strip()


def test_cmakedir_and_version():
    assert penstock("--cmakedir").stdout.strip().endswith("penstock")
    assert penstock("--version").stdout.startswith("penstock ")


def test_exceptions_become_exit_codes(monkeypatch, capsys):
    def fail(error):
        def raiser(**_):
            raise error

        return raiser

    for error, code in (
        (InvalidArgumentError("no"), exitcodes.REFUSED),
        (KeyboardInterrupt(), exitcodes.STOPPED),
        (RuntimeError("a bug"), exitcodes.INTERNAL),
    ):
        monkeypatch.setattr(cli, "app", fail(error))
        assert cli.main([]) == code
    assert "a bug" in capsys.readouterr().err


def test_sampling_options_become_parameters():
    args = SamplingArgs(max_tokens=4, stop=["a", "b"], logit_bias='{"5": 1}', ignore_eos=True)
    assert args.params() == SamplingParams(
        max_tokens=4, stop=["a", "b"], logit_bias={5: 1.0}, ignore_eos=True
    )
    assert SamplingArgs().params() == SamplingParams()


def test_bench_counts_every_token(fake_model):
    found = run_bench(EngineSettings.make(fake_model), Workload.uniform(20, 5, 3), fake_core)
    assert found["generated_tokens"] == 60
    assert found["tokens_per_second"] == pytest.approx(60 / found["seconds"])
    assert found["machine"]["cores"] >= 1
    assert json.loads(json.dumps(found))["stats"]["prompt_tokens"] == 100


def test_bench_says_how_far_the_weights_are_packed(fake_model):
    settings = EngineSettings.make(fake_model, policy={"packed": [0, 1 << 30]})
    said = []
    run_bench(settings, Workload.uniform(1, 2, 3), fake_core, said.append)
    assert "packing the weights: 0 B of 1.0 GiB" in said
    assert "packing the weights: 1.0 GiB of 1.0 GiB" in said


def test_bench_schedules_as_another_system():
    shares = {"host": 0.9, "disk": 0.1}
    policy = {"weight_share": shares, "micro_batch": 4, "pace": 9, "admission": "continuous"}
    settings = EngineSettings.make("dummy:m", policy=policy, threads=3)
    found = scheduled_as(settings, "flexgen", 16)
    assert json.loads(found.policy) == {
        "weight_share": shares,
        "micro_batch": 4,
        "prefill_chunk": 64,
        "admission": "block",
        "step_barrier": True,
        "whole_tensors": True,
        "share_prefix": False,
        "kv_split": False,
    }
    assert (found.model, found.threads) == ("dummy:m", 3)
    assert "prefill_chunk" not in scheduled_as(EngineSettings.make("dummy:m"), "flexgen", 16).policy
    with pytest.raises(InvalidArgumentError, match="allowed: flexgen"):
        scheduled_as(settings, "petals", 16)


def test_windows_count_each_token_once():
    tokens = list(range(100, 147))
    for context, stride in ((10, 0), (10, 3), (10, 9), (48, 0), (100, 0), (3, 1)):
        windows = list(Windows(context, stride).of(tokens, [0]))
        assert all(w[0] == 0 and len(w) <= context for w, _ in windows)
        counted = [t for w, count in windows for t in w[len(w) - count :]]
        assert counted == tokens
    with pytest.raises(InvalidArgumentError, match="stride"):
        list(Windows(10, 10).of(tokens, [0]))


def test_perplexity_of_a_text(fake_model, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("Some words that make up a text. " * 20)
    with LLM(fake_model, core=fake_core) as llm:
        found = perplexity(llm, text, Windows(32))
        tokens = llm.tokenizer.encode(text.read_text(), add_special_tokens=False)
        assert found["tokens"] == len(tokens)
        parts = [[0, *tokens[i : i + 31]] for i in range(0, len(tokens), 31)]
        expected = -sum(s.total for s in llm.score(parts)) / len(tokens)
        assert found["nats_per_token"] == pytest.approx(expected)
        text.write_text("")
        with pytest.raises(InvalidArgumentError, match="no tokens"):
            perplexity(llm, text, Windows(32))


def _state():
    lanes = {
        "compute": {"busy_seconds": 3.0, "bytes": 0, "tasks": 9},
        "disk_read": {"busy_seconds": 1.0, "bytes": 4 << 30, "tasks": 9},
        "disk_write": {"busy_seconds": 0.0, "bytes": 0, "tasks": 0},
    }
    stats = {
        **{"generated_tokens": 50, "prompt_tokens": 7, "seconds": 4.0, "lanes": lanes},
        **{"predicted_bytes": {"disk_read": 4 << 30}, "peak_bytes": {"host": 1 << 30}},
        "budget_bytes": {"host": 2 << 30},
    }
    return ProgressState(10, rows_done=6, rows_failed=1, rows_before=2, stats=stats)


def test_the_progress_line():
    text = progress_text(_state())
    for words in ("6/10 rows", "1 errors", "tokens/s", "compute 75%", "disk_read 25%", "left"):
        assert words in text
    assert "disk_write" not in text
    assert "--:--" in progress_text(ProgressState(10))
    assert [format_seconds(s) for s in (5, 65, 3725, None)] == ["0:05", "1:05", "1:02:05", "--:--"]


def test_time_left_goes_by_tokens_until_rows_are_done(monkeypatch):
    state = ProgressState(110, rows_done=10, rows_before=10, row_tokens=50)
    monkeypatch.setattr(ProgressState, "seconds", 100.0)
    assert state.seconds_left is None
    state.stats = {"prompt_tokens": 900, "shared_tokens": 50, "generated_tokens": 50}
    assert state.seconds_left == pytest.approx(400)  # 1000 of 5000 tokens
    state.rows_done = 15
    assert state.seconds_left == pytest.approx(400)  # a few rows tell little
    state.rows_done = 60
    assert state.seconds_left == pytest.approx(100)
    state.rows_done, state.stats["prompt_tokens"] = 12, 9000
    assert state.seconds_left == 0  # rows were longer than the sample


def test_progress_is_plain_off_a_terminal(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        shown = open_progress(stream)
        assert isinstance(shown, PlainProgress)
        shown.update(_state())
        shown.close()


def test_the_report_for_people_and_machines(tmp_path, capsys):
    report = make_report(_state(), {"isa": "fake"}, 1 << 30, 3)
    write_report(tmp_path / "r.json", report)
    assert json.loads((tmp_path / "r.json").read_text())["rows"]["errors"] == 1
    print_report(report)
    shown = capsys.readouterr().out
    for words in ("6 of 10 rows", "disk_read", "4.0 GiB", "75%", "50%", "4.29"):
        assert words in shown
