"""The engine's process of a job, with the pretended engine."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fake_core  # noqa: E402
from penstock.job.worker import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(fake_core))
