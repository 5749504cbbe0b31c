"""Tokens of a bundled model, generated in this process: for emulated processors.

    python tests/processors/tokens.py DEVICE

Prints the chosen instruction set and the tokens, one JSON object.
"""

import json
import sys
import tempfile
from pathlib import Path

from penstock import LLM, SamplingParams

MODEL = Path(__file__).resolve().parents[2] / "models" / "penstock-opt-5m"


def main() -> None:
    device = sys.argv[1]
    settings = {
        "device": device,
        "weights": "int8",
        "host_memory": "64MiB",
        "threads": 1,
        "probe": False,
    }
    with tempfile.TemporaryDirectory() as cache, LLM(MODEL, cache=cache, **settings) as llm:
        outputs = llm.generate(["The river", "In the year"], SamplingParams(max_tokens=6, seed=1))
    print(json.dumps({"tokens": [output.token_ids for output in outputs]}))


if __name__ == "__main__":
    main()
