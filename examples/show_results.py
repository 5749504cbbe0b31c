"""Prints each prompt of a job with its continuation: show_results.py INPUT OUTPUT."""

import json
import sys
from pathlib import Path


def main(source, output):
    records = {r["id"]: r for r in map(json.loads, Path(output).read_text("utf-8").splitlines())}
    for row in map(json.loads, Path(source).read_text("utf-8").splitlines()):
        record = records[row["id"]]
        answer = record["text"] if "text" in record else f" [{record['error']['message']}]"
        print(
            f"{row['id']:>3}  {row['prompt']}\033[1m{answer.rstrip()}\033[0m"
            if sys.stdout.isatty()
            else f"{row['id']:>3}  {row['prompt']} |{answer.rstrip()}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3])
