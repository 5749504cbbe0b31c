#!/usr/bin/env bash
# Builds the library, the Python module and the C++ tests for 64-bit ARM and runs the tests of
# tensors, kernels and engine under emulation. Speed is not looked at.
#
#   tests/aarch64/run.sh
#
# Needs Debian's g++-aarch64-linux-gnu, qemu-user and googletest (its sources), which it installs
# when they are missing and the user is root, and the build tools of the virtual environment .venv
# (`make aarch64` makes it). Everything is built in build/aarch64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
build=$root/build/aarch64
toolchain=$root/cmake/aarch64-linux-gnu.cmake
gtest=/usr/src/googletest
export PATH="$root/.venv/bin:$PATH"

have_tools() {
  command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null && [ -f $gtest/CMakeLists.txt ]
}
if ! have_tools && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq g++-aarch64-linux-gnu qemu-user googletest >/dev/null
fi
have_tools || {
  echo "The ARM build needs packages that only root can install:" \
    "sudo apt-get install g++-aarch64-linux-gnu qemu-user googletest" >&2
  exit 1
}

# configure FOLDER SOURCE SETTING...: prints what CMake said only when it fails.
configure() {
  local folder=$1 source=$2
  shift 2
  mkdir -p "$build"
  cmake -S "$source" -B "$build/$folder" -G Ninja --toolchain "$toolchain" "$@" \
    >"$build/$folder.log" || { cat "$build/$folder.log"; exit 1; }
}

echo "aarch64: building"
configure googletest $gtest -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF \
  -DCMAKE_INSTALL_PREFIX="$build/installed"
cmake --build "$build/googletest" --target install >>"$build/googletest.log"
# Not optimised further than the other tests: compiling takes longer than running.
configure tests "$root" -DCMAKE_BUILD_TYPE=Test -DCMAKE_PREFIX_PATH="$build/installed" \
  -DPENSTOCK_BUILD_TESTS=ON -DPENSTOCK_PYTHON=ON -DPENSTOCK_WERROR=ON -DPENSTOCK_CUDA=OFF \
  -DPython_EXECUTABLE="$root/.venv/bin/python"
cmake --build "$build/tests" --target _core test_base test_tensor test_kernels test_engine \
  test_engine_portable

# emulated CPU SUITE FILTER: as a machine with this processor.
emulated() {
  echo "aarch64: $2 on $1"
  qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$1" "$build/tests/tests/cpp/test_$2" \
    --gtest_brief=1 --gtest_filter="$3"
}

# expect_isas CPU ISA...: what the library finds on a processor, best first.
expect_isas() {
  local cpu=$1 report=$build/isas.xml
  shift
  qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$cpu" "$build/tests/tests/cpp/test_kernels" \
    --gtest_brief=1 --gtest_filter=KernelTable.PortableIsAlwaysThereAndComesLast \
    --gtest_output="xml:$report" >/dev/null
  grep -q "\"$* \"" "$report" || { echo "aarch64: $cpu does not have: $*"; exit 1; }
}
expect_isas cortex-a53 neon portable
expect_isas cortex-a76 neon_dotprod neon portable
expect_isas max neon_bf16 neon_dotprod neon portable

# With a test device the tests of every instruction set leave out the emulated CUDA kernels, which
# are the same C++ on every processor; so do the filters.
export PENSTOCK_TEST_DEVICE=virtual
no_cuda='-Cuda*:Simt*'
emulated max base 'Crc32c.*'
emulated max tensor '*'
emulated max kernels "$no_cuda"
emulated cortex-a53 kernels 'KernelTable.*:Gemm*:Attention*'
emulated cortex-a76 kernels 'KernelTable.*:Gemm*:Attention*'
echo "aarch64: all passed"
