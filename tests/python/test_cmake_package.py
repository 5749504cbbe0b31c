"""find_package(penstock): a CUDA toolkit is asked for only if component `cuda` is wanted.

The package's own configuration file is used, in a package that claims to be built with CUDA and in
one without. Its targets, and the toolkit, are pretended: nothing is compiled.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = """cmake_minimum_required(VERSION 3.24)
project(made LANGUAGES CXX)
include(CMakePackageConfigHelpers)
set(PENSTOCK_CUDA {cuda})
configure_package_config_file({root}/cmake/penstockConfig.cmake.in
  {package}/penstockConfig.cmake INSTALL_DESTINATION lib/cmake/penstock)
"""
TARGETS = """foreach(name penstock device device_cuda device_no_cuda)
  if(NOT TARGET penstock::${name})
    add_library(penstock::${name} INTERFACE IMPORTED)
  endif()
endforeach()
"""
USE = """cmake_minimum_required(VERSION 3.24)
project(use LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH {modules})
{find}
message(STATUS "cuda component: ${{penstock_cuda_FOUND}}")
if(TARGET penstock::device_gpu)
  get_target_property(links penstock::device_gpu INTERFACE_LINK_LIBRARIES)
  message(STATUS "linked: ${{links}}")
endif()
"""
TOOLKIT = 'message(STATUS "a toolkit is asked for")\nset(CUDAToolkit_FOUND {found})\n'


def cmake(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(text)
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["cmake", "-S", str(folder), "-B", str(folder / "build")]
    environment = {**os.environ, "PATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(params=["ON", "OFF"])
def package(request, tmp_path):
    """A package, and whether it was built with CUDA."""
    folder = tmp_path / "package"
    text = MAKE.format(cuda=request.param, root=ROOT, package=folder)
    code, said = cmake(tmp_path / "make", text)
    assert code == 0, said
    (folder / "penstockTargets.cmake").write_text(TARGETS)
    return folder, request.param == "ON"


def use(package, tmp_path, *finds, toolkit=True):
    modules = tmp_path / "modules"
    modules.mkdir(exist_ok=True)
    (modules / "FindCUDAToolkit.cmake").write_text(TOOLKIT.format(found=str(toolkit).upper()))
    lines = [f"find_package(penstock {f} PATHS {package[0]} NO_DEFAULT_PATH)" for f in finds]
    return cmake(tmp_path / "use", USE.format(modules=modules, find="\n".join(lines)))


def test_without_components_no_toolkit_is_asked_for(package, tmp_path):
    code, said = use(package, tmp_path, "REQUIRED", toolkit=False)
    assert code == 0, said
    assert "a toolkit is asked for" not in said
    assert ("linked: penstock::device_no_cuda" in said) == package[1]


def test_the_component_needs_a_build_with_cuda_and_a_toolkit(package, tmp_path):
    code, said = use(package, tmp_path, "REQUIRED COMPONENTS cuda")
    if package[1]:
        assert code == 0 and "a toolkit is asked for" in said, said
        assert "linked: penstock::device_cuda" in said
    else:
        assert code != 0
        assert "component `cuda` is missing: this package was built without CUDA" in said


def test_a_missing_toolkit_is_named(package, tmp_path):
    code, said = use(package, tmp_path, "REQUIRED COMPONENTS cuda", toolkit=False)
    assert code != 0
    assert ("needs a CUDA toolkit" in said) == package[1]


def test_an_optional_component_may_be_missing(package, tmp_path):
    code, said = use(package, tmp_path, "REQUIRED OPTIONAL_COMPONENTS cuda", toolkit=False)
    assert code == 0, said
    assert "cuda component: FALSE" in said


def test_a_project_that_asks_once_has_it_everywhere(package, tmp_path):
    finds = ("REQUIRED OPTIONAL_COMPONENTS cuda", "REQUIRED")
    code, said = use(package, tmp_path, *finds)
    assert code == 0, said
    assert ("linked: penstock::device_cuda" in said) == package[1]


def test_unknown_components_are_refused_by_name(package, tmp_path):
    code, said = use(package, tmp_path, "REQUIRED COMPONENTS rocm")
    assert code != 0
    assert "no component `rocm`; there is: cuda" in said
