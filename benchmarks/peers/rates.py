"""What the scripts of engines in RAM have in common: their options, and how they tell a rate.

Runs in each engine's own environment: the standard library alone.
"""

import argparse
import json
from pathlib import Path


def options(about: str) -> argparse.ArgumentParser:
    """Token counts, and the batches of which prefill and decode are asked for."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="where converted models lie")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--prefill", type=int, nargs="*", default=[])
    parser.add_argument("--decode", type=int, nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    return parser


def tell(what: str, batch: int, rate: float) -> None:
    """One JSON line; tokens per second of "prefill" or "decode"."""
    print(json.dumps({"what": what, "batch": batch, "rate": rate}), flush=True)
