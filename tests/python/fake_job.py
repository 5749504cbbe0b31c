"""``penstock run`` with the pretended engine: MODEL INPUT OUTPUT [POLICY-JSON] [MAX-TOKENS]."""

import sys
from pathlib import Path

from penstock.errors import PenstockError
from penstock.job.options import JobHooks, JobOptions
from penstock.job.restarts import Restarts
from penstock.job.run import run_job
from penstock.sampling import SamplingParams
from penstock.settings import EngineSettings
from penstock.util import exitcodes

FAKE_WORKER = [sys.executable, str(Path(__file__).parent / "fake_worker.py")]


def main(model, source, output, policy="", max_tokens="16"):
    options = JobOptions(
        input=Path(source),
        output=Path(output),
        settings=EngineSettings.make(model, policy=policy, seed=7),
        sampling=SamplingParams(max_tokens=int(max_tokens)),
    )
    hooks = JobHooks(
        tell=lambda text: print(text, file=sys.stderr),
        worker_command=FAKE_WORKER,
        restarts=lambda: Restarts(first_seconds=0.01),
    )
    try:
        result = run_job(options, hooks)
    except PenstockError as error:
        print(f"error: {error}", file=sys.stderr)
        return exitcodes.of_refusal(error)
    if result.error is not None:
        print(f"error: {result.error}", file=sys.stderr)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
