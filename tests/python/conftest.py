import json
import shutil
import sys
from pathlib import Path

import pytest
from penstock.job.options import JobHooks, JobOptions
from penstock.job.run import run_job
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
FAKE_WORKER = [sys.executable, str(HERE / "fake_worker.py")]


@pytest.fixture(autouse=True)
def no_measured_machine(tmp_path, monkeypatch):
    """Plans do not depend on what was measured on the machine that runs the tests."""
    monkeypatch.setenv("PENSTOCK_MACHINE", str(tmp_path / "no-machine.json"))


@pytest.fixture(scope="session")
def tokenizer_folder():
    """A folder with the tokenizer that comes with the repository."""
    return MODELS / "penstock-llama-5m"


@pytest.fixture
def fake_model(tmp_path, tokenizer_folder):
    """A model folder for the pretended engine: real tokenizer and chat template, no weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(tokenizer_folder / name, folder / name)
    (folder / "config.json").write_text('{"model_type": "fake"}')
    return folder


class Job:
    """A job in a folder of its own, run in this process with the pretended engine's process."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        self.input, self.output = folder / "in.jsonl", folder / "out.jsonl"
        self.messages, self.doings = [], []

    def write(self, rows):
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        self.input.write_bytes(b"".join(line + b"\n" for line in lines))
        return self

    def run(self, sampling=None, overwrite=False, **settings):
        options = JobOptions(
            input=self.input,
            output=self.output,
            settings=EngineSettings.make(self.model, **settings),
            sampling=sampling or SamplingParams(),
            overwrite=overwrite,
        )
        hooks = JobHooks(
            tell=self.messages.append, doing=self.doings.append, worker_command=FAKE_WORKER
        )
        return run_job(options, hooks)

    def records(self):
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def by_id(self):
        return {record.get("custom_id", record["id"]): record for record in self.records()}


@pytest.fixture
def job(tmp_path, fake_model):
    return Job(tmp_path, fake_model)
