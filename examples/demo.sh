#!/usr/bin/env bash
# Runs a small trained model inside a host budget smaller than its weights: they stream from disk.
# Called by `make demo`; needs the package in .venv or on PATH. The results stay in build/demo/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PWD/.venv/bin:$PATH"

model=models/penstock-opt-5m
prompts=examples/prompts/demo.jsonl
budget=${1:-6MiB}
out=build/demo
mkdir -p "$out"

weights=$(cat "$model"/*.safetensors | wc -c)
echo "weights: $((weights / 1024)) KiB; budget for weights, caches and everything else: $budget"
penstock run "$model" --input "$prompts" --output "$out/results.jsonl" --overwrite \
  --host-memory "$budget" --threads 1 --max-tokens 28 --temperature 0 --repetition-penalty 1.2 --stop $'\n' \
  --report "$out/report.json" > "$out/report.txt"
python examples/show_results.py "$prompts" "$out/results.jsonl"
echo
cat "$out/report.txt"
