#!/usr/bin/env bash
# The built package on processors that this machine does not have.
#
#   tests/processors/run.sh TREE
#
# By disassembly: wider instructions stand in files of their own alone. In an emulator: the installed
# package (.venv) generates tokens on a processor with AVX2 and on one without, and the tokens are
# those of the same instruction set on this machine; the C++ library runs on the x86-64 baseline.
# Needs Debian's qemu-user, which it installs when it is missing and the user is root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tree=$1
python=.venv/bin/python
if [ "$(uname -m)" != x86_64 ]; then
  echo "processors: checked on x86-64 alone"
  exit 0
fi

$python tests/processors/baseline.py "$tree"

if ! command -v qemu-x86_64 >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -y -qq qemu-user >/dev/null
fi
command -v qemu-x86_64 >/dev/null || {
  echo "The emulator is missing and only root can install it: sudo apt-get install qemu-user" >&2
  exit 1
}

# emulated CPU DEVICE: tokens on an emulated processor, and here with the kernels that it takes.
emulated() {
  local there here
  there=$(qemu-x86_64 -cpu "$1" "$python" tests/processors/tokens.py cpu 2>/dev/null) || {
    echo "processors: the package does not run on $1"
    qemu-x86_64 -cpu "$1" "$python" tests/processors/tokens.py cpu 2>&1 | grep -v 'TCG does'
    return 1
  }
  here=$("$python" tests/processors/tokens.py "$2")
  [ "$there" = "$here" ] || {
    printf 'processors: %s gives\n%s\nand %s here\n%s\n' "$1" "$there" "$2" "$here"
    return 1
  }
  echo "processors: $1 gives the tokens of $2"
}
emulated Nehalem cpu:portable
if grep -qw avx2 /proc/cpuinfo; then
  emulated Haswell cpu:avx2
else
  echo "processors: this one has no AVX2, so an emulated Haswell has nothing to be compared with"
fi

# Nothing but SSE2.
qemu-x86_64 -cpu qemu64,-sse3,-cx16,-popcnt "$tree/tests/cpp/test_kernels" --gtest_brief=1 \
  --gtest_filter='KernelTable.*'
qemu-x86_64 -cpu qemu64,-sse3,-cx16,-popcnt "$tree/tests/cpp/test_engine" --gtest_brief=1 \
  --gtest_filter='EngineTest.StopTokens*:EngineTest.MoreRows*'
echo "processors: all passed"
