"""Products in fp16 by cuBLAS, as torch calls it: a JSON object a line for each number of rows.

Weights rotate through more memory than the GPU's caches hold. Knows nothing of Penstock.
"""

import argparse
import json
import statistics
import sys

import torch

_ROUNDS, _ROUND_SECONDS, _MOST_CALLS = 7, 0.02, 256


def seconds_of_a_call(weights: list[torch.Tensor], x: torch.Tensor, out: torch.Tensor) -> float:
    """Median over rounds of many calls between two events."""

    def calls(count: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(count):
            torch.mm(x, weights[i % len(weights)].T, out=out)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / count

    calls(3)
    count = int(max(1, min(_MOST_CALLS, _ROUND_SECONDS / calls(len(weights)))))
    return statistics.median(calls(count) for _ in range(_ROUNDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--rotated", type=int, required=True, help="bytes")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU")
    torch.manual_seed(0)
    n, k = arguments.n, arguments.k
    count = max(2, arguments.rotated // (n * k * 2))
    on_card = {"dtype": torch.float16, "device": "cuda"}
    weights = [torch.randn(n, k, **on_card) * 0.1 for _ in range(count)]
    for rows in map(int, arguments.rows.split(",")):
        x, out = torch.randn(rows, k, **on_card), torch.empty(rows, n, **on_card)
        seconds = seconds_of_a_call(weights, x, out)
        result = {"m": rows, "n": n, "k": k, "seconds": seconds, "torch": torch.__version__}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
