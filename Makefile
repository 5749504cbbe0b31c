# Every target sets up what it needs in .venv and build/; a second run only does what changed.
#
#   make demo     the examples on the small models that come with the repository
#   make test     lint, rules, C++ tests, Python tests: what CI runs
#   make cpp      the C++ tests alone; `make cpp FOLDER=memory` one folder of them
#   make rules    the layering and size rules alone
#   make lint     formatting, ruff, mypy
#   make format   rewrites the files so that lint passes; `make format FOLDER=memory` one folder
#   make cuda-check  compiles the CUDA device for three GPU generations and runs what needs no GPU
#   make asan     the C++ tests under the address and undefined-behaviour sanitizers (FOLDER= too)
#   make tsan     the C++ tests under the thread sanitizer (FOLDER= too)
#   make wheel    a wheel in dist/
#   make clean    removes what was built, but not .venv

PYTHON ?= python3
FOLDER ?=

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install -q
BUILD_STAMP := $(VENV)/.stamp-build
DEV_STAMP := $(VENV)/.stamp-dev
TEST_STAMP := $(VENV)/.stamp-test
DEPS_STAMP := $(VENV)/.stamp-deps
INSTALL_STAMP := $(VENV)/.stamp-install
GTEST_STAMP := $(VENV)/.stamp-gtest

# Folders too, so that a removed file counts; but `cpp` is the name of a target.
SOURCES := CMakeLists.txt pyproject.toml $(filter-out cpp,$(shell find cmake cpp python -name __pycache__ -prune -o \
  \( -type d -o -name '*.h' -o -name '*.cc' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \
  -o -name '*.py' -o -name '*.json' -o -name '*.txt' -o -name '*.cmake' -o -name '*.in' \
  -o -name 'py.typed' \) -print))
CXX_FILES = $(shell find $(FORMAT_PATHS) \
  \( -name '*.h' -o -name '*.cc' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \))
# FOLDER narrows `make format` to one folder and its tests, not to stir what others work on.
FORMAT_PATHS = $(if $(FOLDER),$(wildcard cpp/$(FOLDER) tests/cpp/$(FOLDER)),$(wildcard cpp python \
  tests examples benchmarks))
RUFF_PATHS = $(if $(FOLDER),$(FORMAT_PATHS),.)
TORCH := $(shell sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export CMAKE_GENERATOR := Ninja

.PHONY: demo test cpp cuda-check rules lint format asan tsan wheel install clean
.NOTPARALLEL:

demo: install
	examples/demo.sh

# The Python tests end the run, so that their closing line is the last one printed.
test: lint rules cpp $(TEST_STAMP) install
	$(VENV)/bin/python -m pytest tests

# ---- set-up ------------------------------------------------------------------------------------

$(BUILD_STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' || { \
	  echo "Penstock needs Python 3.10 or later: run make PYTHON=<a Python of that version>"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make virtual" \
	  "environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --group build
	@touch $@

# Dependencies are resolved when pyproject.toml changed; a change of sources only builds and installs.
$(DEPS_STAMP): $(BUILD_STAMP)
	$(PIP) --no-build-isolation .
	@touch $@ $(INSTALL_STAMP)

$(INSTALL_STAMP): $(SOURCES) | $(DEPS_STAMP)
	$(PIP) --no-build-isolation --no-deps .
	@touch $@

install: $(INSTALL_STAMP)

$(DEV_STAMP): $(BUILD_STAMP)
	$(PIP) --no-build-isolation ".[dev]"
	@touch $@ $(DEPS_STAMP) $(INSTALL_STAMP)

# torch comes first and alone, so that its version is settled before anything else asks for it.
$(TEST_STAMP): $(BUILD_STAMP)
	$(PIP) "$(TORCH)"
	$(PIP) --no-build-isolation ".[test]"
	@touch $@ $(DEPS_STAMP) $(INSTALL_STAMP)

$(GTEST_STAMP): | $(BUILD_STAMP)
	@has_gtest() { echo 'int main() {}' | c++ -x c++ -include gtest/gtest.h - -lgtest \
	  -o /dev/null 2>/dev/null; }; \
	if ! has_gtest && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq libgtest-dev >/dev/null; fi; \
	has_gtest || { echo "GoogleTest is missing and only root can install it:" \
	  "sudo apt-get install libgtest-dev"; exit 1; }
	@touch $@

# ---- C++ tests ---------------------------------------------------------------------------------

# $(1): build folder below build/, $(2): further settings. FOLDER limits the build and the run.
cpp_tests = cmake -S . -B build/$(1) -DCMAKE_BUILD_TYPE=Test -DPENSTOCK_BUILD_TESTS=ON \
	  -DPENSTOCK_WERROR=ON -DPENSTOCK_CUDA=OFF -DPython_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python $(2) >build/$(1).log \
	  || { cat build/$(1).log; exit 1; }; \
	cmake --build build/$(1) $(if $(FOLDER),--target test_$(FOLDER)) && \
	ctest --test-dir build/$(1) --output-on-failure $(if $(FOLDER),-R '^$(FOLDER)$$')

cpp: $(GTEST_STAMP)
	@mkdir -p build
	$(call cpp_tests,test)

asan: $(GTEST_STAMP)
	@mkdir -p build
	$(call cpp_tests,asan,-DPENSTOCK_SANITIZE=address$(comma)undefined)

tsan: $(GTEST_STAMP)
	@mkdir -p build
	$(call cpp_tests,tsan,-DPENSTOCK_SANITIZE=thread)

# Where there is no nvcc this says so and does nothing.
cuda-check: $(GTEST_STAMP)
	@mkdir -p build
	@command -v nvcc >/dev/null || { echo "no nvcc: the CUDA device is not checked"; exit 0; }; \
	cmake -S . -B build/cuda -DCMAKE_BUILD_TYPE=Test -DPENSTOCK_BUILD_TESTS=ON -DPENSTOCK_WERROR=ON \
	  -DPENSTOCK_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=75-real;80-real;90a-real" \
	  -DPython_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python >build/cuda.log \
	  || { cat build/cuda.log; exit 1; }; \
	cmake --build build/cuda --target test_device test_kernels bench_gpu && \
	build/cuda/tests/cpp/test_device --gtest_brief=1 --gtest_filter='Cuda.*' && \
	build/cuda/tests/cpp/test_kernels --gtest_brief=1 --gtest_filter='Cuda*:Simt*'

comma := ,

# ---- rules and lint ----------------------------------------------------------------------------

rules: $(DEV_STAMP)
	$(VENV)/bin/python -m pytest tests/rules

lint: $(DEV_STAMP) install
	@echo clang-format --dry-run -Werror
	@clang-format --dry-run -Werror $(CXX_FILES)
	ruff check
	ruff format --check
	mypy -p penstock

format: $(DEV_STAMP)
	@echo clang-format -i
	@clang-format -i $(CXX_FILES)
	ruff check --fix $(RUFF_PATHS)
	ruff format $(RUFF_PATHS)

# From Python 3.12 on one wheel serves all later Pythons: make wheel PYTHON=python3.12 on a fresh clone.
wheel: $(BUILD_STAMP)
	$(PIP) --group wheel
	$(VENV)/bin/python tools/build_wheel.py -C cmake.define.PENSTOCK_CUDA=OFF

clean:
	rm -rf build dist $(INSTALL_STAMP)
