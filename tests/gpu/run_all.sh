#!/usr/bin/env bash
# Everything that only a GPU can tell, with one command on a bare machine:
#
#   tests/gpu/run_all.sh [FOLDER] [STAGE...]
#
# Stages, all of them unless some are named, in this order:
#   build     the Python package, the C++ tests and benchmarks, for the GPU found
#   test      all C++ tests and the Python oracle, with cuda:0 among their devices
#   sanitize  memcheck, racecheck and synccheck of compute-sanitizer over small shapes
#   kernels   benchmarks/gpu_kernels.py: products beside cuBLAS, attention, copies
#   offload   benchmarks/gpu_offload.py: OPT-30B beside Accelerate
#   large     the same: Llama-3.1-70B and OPT-175B in 4 bits
#
# Logs and JSON go to FOLDER (else $OUT, else build/gpu/out); a table is printed at the end, also
# when a stage failed, was cut off or the script was interrupted, and lies in FOLDER/summary.json.
# Exits with 1 if any stage did not end well. Stages that are run alone may take 525 s; all together
# they end within 28 minutes. Later stages need what `build` left in build/gpu, nothing else.
#
# Needs: Linux on x86-64, an NVIDIA driver for CUDA 13, nvcc 13 with compute-sanitizer, a C++20
# compiler, Python 3.10 to 3.13 (made for 3.12) with its venv module and torch with CUDA. No root.
# No network: what is missing of the following is installed from wheels in the folder that
# PENSTOCK_GPU_WHEELS names.
#   to build      scikit-build-core nanobind nlohmann-json cmake ninja
#   to run        numpy tokenizers jinja2 highspy typer rich
#   to test       pytest safetensors transformers (oracle) accelerate (offload)
#   nvidia-cublas comes with torch for CUDA 13; where it is missing our own kernels do its products
#   and what these need: pathspec packaging markupsafe huggingface-hub tqdm regex pyyaml filelock
#   click shellingham markdown-it-py mdurl pygments iniconfig pluggy psutil
# GoogleTest is taken from the system, or built from its sources: the folder that PENSTOCK_GPU_GTEST
# names, or /usr/src/googletest (Debian's googletest).
#
# Other variables: PENSTOCK_GPU_ARCH, as 90a: build for that, GPU or not. PENSTOCK_GPU_SECONDS: limit
# of each stage. PENSTOCK_GPU_JOBS: processes at once. PENSTOCK_GPU_DEVICE: instead of cuda:0
# (virtual tries the way). PENSTOCK_COMMIT: for results, where the sources are no git checkout.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
STAGES=(build test sanitize kernels offload large)
WORK="$ROOT/build/gpu"
TREE="$WORK/tree"
PYTHON="$WORK/venv/bin/python"
JOBS="${PENSTOCK_GPU_JOBS:-$(nproc)}"
DEVICE="${PENSTOCK_GPU_DEVICE:-cuda:0}"

die() {
  echo "$*" >&2
  exit 1
}

is_stage() { [[ " ${STAGES[*]} " == *" $1 "* ]]; }

# Of all stages together 28 minutes, with some to spare.
limit_of() {
  if [[ -n "${PENSTOCK_GPU_SECONDS:-}" ]]; then
    echo "$PENSTOCK_GPU_SECONDS"
  elif [[ "${#CHOSEN[@]}" -eq 1 ]]; then
    echo 525
  else
    case "$1" in
      build) echo 300 ;;
      test) echo 330 ;;
      sanitize) echo 210 ;;
      kernels) echo 240 ;;
      offload) echo 300 ;;
      large) echo 260 ;;
    esac
  fi
}

# ---- what stages need --------------------------------------------------------------------------

need_gpu() {
  [[ "$DEVICE" == cuda:* ]] || return 0
  command -v nvidia-smi >/dev/null || die "no GPU: there is no nvidia-smi"
  nvidia-smi -L 2>/dev/null | grep -q '^GPU ' || die "no GPU: nvidia-smi finds none"
}

need_build() {
  [[ -x "$TREE/benchmarks/bench_gpu" && -x "$PYTHON" ]] || die "nothing is built: run stage build"
}

architecture() {
  if [[ -n "${PENSTOCK_GPU_ARCH:-}" ]]; then
    echo "${PENSTOCK_GPU_ARCH%-real}-real"
    return
  fi
  need_gpu
  local found
  found="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader --id=0 | tr -d '. ')"
  [[ "$found" =~ ^[0-9]+$ ]] || die "nvidia-smi does not tell the compute capability: '$found'"
  [[ "$found" == 90 ]] && found=90a
  echo "$found-real"
}

missing_modules() {
  "$PYTHON" - "$@" <<'CODE'
import importlib.util, sys
named = {"scikit-build-core": "scikit_build_core", "nlohmann-json": "nlohmann_json"}
missing = [n for n in sys.argv[1:] if importlib.util.find_spec(named.get(n, n)) is None]
print(*missing)
CODE
}

# Installs what is missing of some modules from the folder of wheels; what cannot be had is named.
need_modules() {
  local missing
  missing="$(missing_modules "$@")"
  [[ -n "$missing" ]] || return 0
  [[ -n "${PENSTOCK_GPU_WHEELS:-}" ]] ||
    die "Python modules are missing: $missing (put their wheels in a folder and name it in" \
      "PENSTOCK_GPU_WHEELS)"
  # shellcheck disable=SC2086 # one word a module
  "$PYTHON" -m pip install -q --no-index --find-links "$PENSTOCK_GPU_WHEELS" $missing
}

need_tool() {
  command -v "$1" >/dev/null && return
  need_modules "$1"
}

make_venv() {
  if [[ ! -x "$PYTHON" ]]; then
    python3 -c 'import ensurepip, venv' || die "this Python has no venv module"
    python3 -m venv --system-site-packages "$WORK/venv"
    # One virtual environment may be made from another, whose packages are not the system's.
    python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
      >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/outer.pth"
  fi
}

has_gtest() {
  echo 'int main() {}' |
    c++ -x c++ -std=c++20 -include gtest/gtest.h "$@" - -lgtest -pthread -o /dev/null 2>/dev/null
}

need_gtest() {
  has_gtest && return
  local own="$WORK/gtest" source="${PENSTOCK_GPU_GTEST:-/usr/src/googletest}"
  if ! has_gtest "-I$own/include" "-L$own/lib"; then
    [[ -f "$source/CMakeLists.txt" ]] ||
      die "GoogleTest is missing: name the folder of its sources in PENSTOCK_GPU_GTEST"
    cmake -S "$source" -B "$WORK/gtest-tree" -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF \
      "-DCMAKE_INSTALL_PREFIX=$own" -DCMAKE_INSTALL_LIBDIR=lib
    cmake --build "$WORK/gtest-tree" --parallel "$JOBS" --target install
  fi
  export CMAKE_PREFIX_PATH="$own${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
}

# ---- stages ------------------------------------------------------------------------------------

stage_build() {
  local arch
  command -v nvcc >/dev/null || die "there is no nvcc on the PATH"
  arch="$(architecture)"
  mkdir -p "$WORK"
  make_venv
  export PATH="$WORK/venv/bin:$PATH" CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL="$JOBS"
  need_modules scikit-build-core nanobind nlohmann-json numpy tokenizers jinja2 highspy typer \
    rich
  need_tool cmake
  need_tool ninja
  need_gtest
  echo "building for $arch"
  "$PYTHON" -m pip install -v --no-index --no-build-isolation --no-deps --force-reinstall \
    -C "build-dir=$TREE" -C cmake.define.PENSTOCK_CUDA=ON \
    -C "cmake.define.CMAKE_CUDA_ARCHITECTURES=$arch" -C cmake.define.PENSTOCK_BUILD_TESTS=ON \
    -C cmake.define.PENSTOCK_BUILD_BENCHMARKS=ON "$ROOT"
  cmake --build "$TREE" --target bench_gpu
}

# Runs a command in the background; its output is LOG, its exit status goes to LOG.status.
FOLDER=""
start() {
  local log="$FOLDER/$1.log"
  shift
  (
    status=0
    ("$@") >"$log" 2>&1 || status=$?
    echo "$status" >"$log.status"
  ) &
}

# Waits for what was started; fails if any of it did.
finish_all() {
  local failed=0 log status
  wait
  for log in "$FOLDER"/*.log; do
    status="$(cat "$log.status" 2>/dev/null || echo nothing)"
    [[ "$status" == 0 ]] && continue
    failed=1
    echo "$(basename "$log" .log) ended with $status:"
    grep -aE 'FAILED|Failure|ERROR SUMMARY|^E |rror|missing' "$log" | head -20 || true
  done
  return "$failed"
}

fresh_folder() {
  FOLDER="$OUT/$1"
  rm -rf "$FOLDER"
  mkdir -p "$FOLDER"
}

# libcublasLt as the package finds it, or "off": C++ tests have no Python to ask.
CUBLASLT=off
find_cublaslt() {
  CUBLASLT="$("$PYTHON" -c \
    'from penstock.util.config import cublaslt_library; print(cublaslt_library())')"
  echo "cuBLASLt: ${CUBLASLT:-whatever the loader finds}"
}

# One test program, in parts that run side by side.
start_test() {
  local name="$1" parts="$2" part
  shift 2
  for ((part = 0; part < parts; ++part)); do
    start "$name-$part" env "PENSTOCK_TEST_DEVICE=$DEVICE" "PENSTOCK_TEST_CUBLASLT=$CUBLASLT" \
      "GTEST_TOTAL_SHARDS=$parts" "GTEST_SHARD_INDEX=$part" "$@"
  done
}

oracle_tests() {
  need_modules pytest safetensors transformers torch
  PENSTOCK_TEST_DEVICE="$DEVICE" "$PYTHON" -m pytest -vv -p no:cacheprovider \
    "tests/python/oracle/test_$1.py"
}

stage_test() {
  need_gpu
  need_build
  fresh_folder test
  cd "$ROOT"
  find_cublaslt
  local program name parts
  for program in "$TREE"/tests/cpp/test_*; do
    [[ -x "$program" && -f "$program" ]] || continue
    name="$(basename "$program")"
    case "$name" in
      test_kernels) parts=4 ;;
      test_engine) parts=6 ;;
      *) parts=1 ;;
    esac
    start_test "$name" "$parts" "$program"
  done
  for name in devices oracle; do start "python-$name" oracle_tests "$name"; done
  finish_all
}

SMALL_KERNELS="Embed.*:Norm.*:Gated.KeepsNan*:GatherRows.*:Rotary.*:Prepare.*:Score.*:Sample.*"
SMALL_KERNELS+=":Gemm.EveryActivation:Gemm.Quantised*:Gemm.ResidualMay*:Gemm.ANan*"
SMALL_KERNELS+=":Attention.TokensOutside*:KvAppend*.*:AttentionParts.RowsWithout*"
SMALL_KERNELS+=":AttentionParts.SpansOfOneBatch*:AttentionHalf.SmallElements*"

stage_sanitize() {
  need_gpu
  need_build
  local sanitizer tool
  sanitizer="$(command -v compute-sanitizer || true)"
  if [[ -z "$sanitizer" ]]; then
    sanitizer="$(dirname "$(readlink -f "$(command -v nvcc)")")/compute-sanitizer"
  fi
  [[ -x "$sanitizer" ]] || die "there is no compute-sanitizer beside nvcc"
  fresh_folder sanitize
  for tool in memcheck racecheck synccheck; do
    start_test "$tool-kernels" 2 "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$TREE/tests/cpp/test_kernels" "--gtest_filter=$SMALL_KERNELS"
    start_test "$tool-device" 1 "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$TREE/tests/cpp/test_device" '--gtest_filter=*AcceleratorOps*'
  done
  finish_all
  local log
  for log in "$FOLDER"/*.log; do
    grep -aqE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' "$log" ||
      die "$(basename "$log") does not say that there are none"
  done
}

stage_kernels() {
  need_gpu
  need_build
  cd "$ROOT"
  find_cublaslt
  PENSTOCK_CUBLASLT="$CUBLASLT" \
    "$PYTHON" benchmarks/gpu_kernels.py --program "$TREE/benchmarks/bench_gpu" --device "$DEVICE" \
    --seconds "$((LIMIT - 15))" --out "$OUT/results" "${SMALL[@]}"
}

offload() {
  need_gpu
  need_build
  (need_modules transformers accelerate) || echo "without them Accelerate cannot run"
  cd "$ROOT"
  "$PYTHON" benchmarks/gpu_offload.py --device "$DEVICE" --seconds "$((LIMIT - 15))" \
    --scratch "$WORK/offload" --out "$OUT/results" "${SMALL[@]}" "$@"
}

# The job itself is what counts: where Accelerate is missing, its runs fail and the others do not.
stage_offload() {
  if [[ "${#SMALL[@]}" -gt 0 ]]; then
    offload --no-peer --host-memory 2 --device-memory 0.25
  else
    offload --only "opt-30b 512/32" --only "opt-30b 128/128"
  fi
}

stage_large() {
  if [[ "${#SMALL[@]}" -gt 0 ]]; then
    offload --only "opt-125m int4" --host-memory 2 --device-memory 0.25
  else
    offload --only "llama-3.1-70b int4" --only "opt-175b int4"
  fi
}

# ---- the run -----------------------------------------------------------------------------------

note() { printf '{"stage": "%s", "status": "%s", "seconds": %d}\n' "$@" >>"$OUT/stages.jsonl"; }

summary() {
  local status=$?
  trap - EXIT
  if [[ -n "$RUNNING" ]]; then note "$RUNNING" interrupted "$((SECONDS - BEGUN))"; fi
  python3 "$ROOT/tests/gpu/summary.py" "$OUT" || cat "$OUT/stages.jsonl"
  exit "$status"
}

run_stage() {
  local stage="$1" limit status=0 outcome=ok
  limit="$(limit_of "$stage")"
  echo "== $stage, at most $limit s"
  RUNNING="$stage" BEGUN=$SECONDS
  timeout --kill-after=10 "$limit" bash "${BASH_SOURCE[0]}" --inside "$stage" "$limit" "$OUT" \
    >"$OUT/$stage.log" 2>&1 || status=$?
  case "$status" in
    0) ;;
    124 | 137) outcome="cut off" ;;
    *) outcome=failed ;;
  esac
  [[ "$status" == 0 ]] || tail -n 15 "$OUT/$stage.log"
  note "$stage" "$outcome" "$((SECONDS - BEGUN))"
  RUNNING=""
  return "$status"
}

SMALL=()
[[ "$DEVICE" == cuda:* ]] || SMALL=(--small)

if [[ "${1:-}" == --inside ]]; then
  LIMIT="$3" OUT="$4"
  "stage_$2"
  exit
fi

CHOSEN=()
OUT="${OUT:-}"
for argument in "$@"; do
  case "$argument" in
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
    -*) die "no such option: $argument" ;;
  esac
  if is_stage "$argument"; then
    CHOSEN+=("$argument")
  elif [[ "$argument" == "${1}" && ( "$argument" == */* || -d "$argument" ) ]]; then
    OUT="$argument"
  else
    die "no such stage: $argument (there are ${STAGES[*]})"
  fi
done
[[ "${#CHOSEN[@]}" -gt 0 ]] || CHOSEN=("${STAGES[@]}")
OUT="${OUT:-$WORK/out}"
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
: >"$OUT/stages.jsonl"
RUNNING="" BEGUN=0 FAILED=0
trap summary EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for stage in "${CHOSEN[@]}"; do
  run_stage "$stage" || FAILED=1
  if [[ "$stage" == build && "$FAILED" == 1 ]]; then break; fi
done
exit "$FAILED"
