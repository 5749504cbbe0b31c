"""Kills ``penstock run`` with SIGKILL at random moments and starts it again, as often as asked.

After each death every whole line of the output must be one of an uninterrupted run's, none twice;
each time the job ends, the output must have exactly that run's lines. Prints one JSON object.

    python tests/faults/kill_job.py models/penstock-opt-5m --kills 50
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Killer:
    """One job that is killed again and again; `options` are those of ``penstock run``."""

    model: Path
    folder: Path
    options: list[str]
    rows: int = 48
    seed: int = 0
    counts: dict = field(default_factory=lambda: {"kills": 0, "kills_while_writing": 0, "runs": 0})

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.input = self.folder / "in.jsonl"
        self.input.write_text("".join(json.dumps(self._row(i)) + "\n" for i in range(self.rows)))

    def _row(self, i):
        """Greedy and sampled rows of different lengths; some are scored, some wrong."""
        row = {"id": f"row-{i}", "prompt": "The function returns " * (1 + i % 5)}
        if i % 12 == 5:
            return {**row, "score": True}
        if i % 12 == 7:
            return {**row, "max_tokens": 10**6}
        return {**row, "max_tokens": 8 + 7 * (i % 4), "temperature": i % 3 / 2, "ignore_eos": True}

    def command(self, output):
        words = ["run", self.model, "--input", self.input, "--output", output, "--seed", 11]
        return [sys.executable, "-m", "penstock", *map(str, words), *self.options]

    def golden(self):
        """Lines of an uninterrupted run, sorted, and its seconds."""
        output = self.folder / "golden.jsonl"
        begun = time.monotonic()
        run = subprocess.run(self.command(output), capture_output=True, timeout=300)
        assert run.returncode == 3, run.stderr.decode()
        return sorted(output.read_bytes().splitlines()), time.monotonic() - begun

    def run(self, kills):
        """Kills that often; returns what was counted. Any lost, repeated or other line raises."""
        golden, seconds = self.golden()
        assert len(golden) == self.rows
        output = self.folder / "out.jsonl"
        while self.counts["kills"] < kills:
            if self._killed(output, seconds):
                self._check(output, golden, is_whole=False)
            else:
                self._finished(output, golden)
        last = subprocess.run(self.command(output), capture_output=True, timeout=300)
        assert last.returncode == 3, last.stderr.decode()
        self._check(output, golden, is_whole=True)
        self.counts["runs"] += 1
        return {**self.counts, "rows": self.rows, "lost": 0, "repeated": 0, "identical": True}

    def _killed(self, output, seconds):
        process = subprocess.Popen(
            self.command(output), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(self.random.uniform(0.02, 1.02 * seconds))
        before = output.stat().st_size if output.exists() else 0
        process.kill()
        _, said = process.communicate()
        assert process.returncode in (3, -signal.SIGKILL), said.decode()
        if process.returncode == 3:
            return False
        self.counts["kills"] += 1
        self.counts["kills_while_writing"] += before > 0
        return True

    def _finished(self, output, golden):
        self._check(output, golden, is_whole=True)
        self.counts["runs"] += 1
        for path in self.folder.glob("out.jsonl*"):
            path.unlink()

    @staticmethod
    def _check(output, golden, is_whole):
        raw = output.read_bytes() if output.exists() else b""
        lines = raw.split(b"\n")[:-1]
        assert len(lines) == len(set(lines)), "a record was repeated"
        assert set(lines) <= set(golden), "a record differs from the uninterrupted run's"
        if is_whole:
            assert sorted(lines) == golden and raw.endswith(b"\n"), "a record was lost"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    chosen, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(chosen.model, Path(folder), options, chosen.rows, chosen.seed)
        print(json.dumps(killer.run(chosen.kills)))


if __name__ == "__main__":
    main()
