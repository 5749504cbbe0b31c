"""`penstock run` on the pretended engine, as a process."""

import subprocess
import sys
from pathlib import Path

FAKE_JOB = str(Path(__file__).parent / "fake_job.py")


def rows(count):
    return [{"id": f"row {i}", "prompt": f"Row number {i} says"} for i in range(count)]


def spawn(job, policy="", max_tokens="16"):
    command = [sys.executable, FAKE_JOB, str(job.model), str(job.input), str(job.output)]
    return subprocess.Popen([*command, policy, max_tokens], stderr=subprocess.PIPE)
