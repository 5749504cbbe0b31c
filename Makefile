# Every target sets up what it needs in .venv and build/; a second run only does what changed.
#
#   make demo     the examples on the small models that come with the repository
#   make test     lint, rules, C++ tests, Python tests
#   make check    all that .ci/run checks: test, processors, cuda-check
#   make cpp      the C++ tests alone; `make cpp FOLDER=memory` one folder of them
#   make rules    the layering and size rules alone
#   make lint     formatting, ruff, mypy
#   make format   rewrites the files so that lint passes; `make format FOLDER=memory` one folder
#   make processors  the built code on older processors: in an emulator and by disassembly
#   make cuda-check  compiles the CUDA device for three GPU generations and runs what needs no GPU
#   make aarch64  cross-compiles everything for 64-bit ARM and runs the tests of kernels and engine
#                 under emulation (tests/aarch64/run.sh)
#   make asan     the C++ tests under the address and undefined-behaviour sanitizers (FOLDER= too)
#   make tsan     the C++ tests under the thread sanitizer (FOLDER= too)
#   make wheel    a wheel in dist/
#   make clean    removes what was built, but not .venv

PYTHON ?= python3
FOLDER ?=

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install
BUILD_STAMP := $(VENV)/.stamp-build
DEV_STAMP := $(VENV)/.stamp-dev
TEST_STAMP := $(VENV)/.stamp-test
INSTALL_STAMP := $(VENV)/.stamp-install
GTEST_STAMP := $(VENV)/.stamp-gtest

# The package and the C++ tests come from one build tree, so that nothing is compiled twice. CUDA is
# never a part of it; `make cuda-check` has a tree of its own.
TREE := build/release
WERROR ?= $(if $(CI),ON,OFF)
SETTINGS := PENSTOCK_CUDA=OFF PENSTOCK_WERROR=$(WERROR)
PACKAGE := --no-build-isolation -C build-dir=$(TREE) $(SETTINGS:%=-C cmake.define.%)

# $(call narrate,NAME,LABEL) COMMAND: a line at least every ten seconds, the rest in build/logs/NAME.
narrate = $(PYTHON) tools/narrate.py build/logs/$(1).log "$(2)"

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

.PHONY: demo test check cpp processors cuda-check aarch64 rules lint format asan tsan wheel install clean
.NOTPARALLEL:

demo: install
	examples/demo.sh

# The Python tests end the run, so that their closing line is the last one printed.
test: install lint rules cpp $(TEST_STAMP)
	$(VENV)/bin/python -m pytest tests

check: install lint rules cpp processors cuda-check $(TEST_STAMP)
	$(VENV)/bin/python -m pytest tests

# ---- set-up ------------------------------------------------------------------------------------

$(BUILD_STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' || { \
	  echo "Penstock needs Python 3.10 or later: run make PYTHON=<a Python of that version>"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make virtual" \
	  "environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@test -x $(VENV)/bin/python || $(call narrate,venv,a virtual environment) $(PYTHON) -m venv $(VENV)
	@$(call narrate,pip,pip) $(PIP) --upgrade "pip>=25.1"
	@$(call narrate,build-tools,what the build needs) $(PIP) --group build
	@touch $@

# pip brings what the package needs when that is missing; else this builds and installs.
$(INSTALL_STAMP): $(BUILD_STAMP) $(SOURCES)
	@$(call narrate,package,the package) $(PIP) -v $(PACKAGE) .
	@touch $@

install: $(INSTALL_STAMP)

$(DEV_STAMP): $(BUILD_STAMP)
	@$(call narrate,dev,what lint needs) $(PIP) --group dev
	@touch $@

# torch comes first and alone, so that its version is settled before anything else asks for it.
$(TEST_STAMP): $(BUILD_STAMP)
	@$(call narrate,torch,torch) $(PIP) "$(TORCH)"
	@$(call narrate,test,what tests need) $(PIP) --group test
	@touch $@

$(GTEST_STAMP): | $(BUILD_STAMP)
	@has_gtest() { echo 'int main() {}' | c++ -x c++ -include gtest/gtest.h - -lgtest \
	  -o /dev/null 2>/dev/null; }; \
	if ! has_gtest && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq libgtest-dev >/dev/null; fi; \
	has_gtest || { echo "GoogleTest is missing and only root can install it:" \
	  "sudo apt-get install libgtest-dev"; exit 1; }
	@touch $@

# ---- C++ tests ---------------------------------------------------------------------------------

# $(call ctest,TREE): FOLDER limits the build and the run.
ctest = $(call narrate,$(notdir $(1))-build,C++ tests: build) cmake --build $(1) \
	  --target $(if $(FOLDER),test_$(FOLDER),tests) && \
	$(call narrate,$(notdir $(1))-run,C++ tests) ctest --test-dir $(1) --output-on-failure \
	  $(if $(FOLDER),-R '^$(FOLDER)$$')
# $(call sanitized,NAME,SANITIZERS): a tree of its own.
sanitized = $(call narrate,$(1),$(1): settings) cmake -S . -B build/$(1) -DCMAKE_BUILD_TYPE=Test \
	  -DPENSTOCK_BUILD_TESTS=ON -DPENSTOCK_WERROR=ON -DPENSTOCK_CUDA=OFF -DPENSTOCK_SANITIZE=$(2) \
	  -DPython_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python && $(call ctest,build/$(1))

cpp: $(GTEST_STAMP) install
	@$(call narrate,tests,C++ tests: settings) cmake -DPENSTOCK_BUILD_TESTS=ON $(TREE) && \
	$(call ctest,$(TREE))

asan: $(GTEST_STAMP)
	@$(call sanitized,asan,address$(comma)undefined)

tsan: $(GTEST_STAMP)
	@$(call sanitized,tsan,thread)

processors: install $(GTEST_STAMP)
	@$(call narrate,processors-build,other processors: build) sh -c 'cmake -DPENSTOCK_BUILD_TESTS=ON \
	  $(TREE) && cmake --build $(TREE) --target test_kernels test_engine'
	@$(call narrate,processors,other processors) tests/processors/run.sh $(TREE)

# Where there is no nvcc this says so and does nothing.
cuda-check: $(GTEST_STAMP)
	@command -v nvcc >/dev/null || { echo "no nvcc: the CUDA device is not checked"; exit 0; }; \
	$(call narrate,cuda,CUDA: settings) cmake -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release \
	  -DPENSTOCK_BUILD_TESTS=ON -DPENSTOCK_WERROR=$(WERROR) -DPENSTOCK_CUDA=ON \
	  "-DCMAKE_CUDA_ARCHITECTURES=75-real;80-real;90a-real" \
	  -DPython_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python && \
	$(call narrate,cuda-build,CUDA: build) cmake --build build/cuda --target test_device bench_gpu && \
	build/cuda/tests/cpp/test_device --gtest_brief=1 --gtest_filter='Cuda.*'

aarch64: $(BUILD_STAMP)
	@$(call narrate,aarch64,64-bit ARM) tests/aarch64/run.sh

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
	@$(call narrate,wheel-tools,what names wheels) $(PIP) --group wheel
	@$(call narrate,wheel,the wheel) $(VENV)/bin/python tools/build_wheel.py $(PACKAGE)

clean:
	rm -rf build dist $(INSTALL_STAMP)
