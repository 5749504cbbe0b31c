# Finds what the build needs; third_party/README.md says where each comes from.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# Built for another processor, the module takes the headers of this machine's Python, which hold no
# machine code, and a name for the other processor's Python of the same version.
function(penstock_find_python_headers)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "from sysconfig import get_path; print(get_path('include'))"
    OUTPUT_VARIABLE Python_INCLUDE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  find_package(Python REQUIRED COMPONENTS Development.Module ${SKBUILD_SABI_COMPONENT})
  set(Python_SOABI
      "cpython-${Python_VERSION_MAJOR}${Python_VERSION_MINOR}-${CMAKE_LIBRARY_ARCHITECTURE}"
      PARENT_SCOPE)
endfunction()

# Python also names the folder of the header packages that pip installed for the build.
if(NOT PENSTOCK_PYTHON)
  find_package(Python 3.10 QUIET COMPONENTS Interpreter)
elseif(CMAKE_CROSSCOMPILING)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter)
  penstock_find_python_headers()
else()
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module
               ${SKBUILD_SABI_COMPONENT})
endif()

# Sets `out` to the folder of the header package `module`, or to "" when Python does not have it.
# The package is located, not imported: its import needs a package we do not.
function(penstock_python_package module out)
  set(${out} "" PARENT_SCOPE)
  if(NOT Python_Interpreter_FOUND)
    return()
  endif()
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "from importlib.util import find_spec; print(find_spec('${module}').submodule_search_locations[0])"
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  if(NOT failed)
    set(${out} "${found}" PARENT_SCOPE)
  endif()
endfunction()

function(penstock_find_json)
  penstock_python_package(nlohmann_json package)
  find_path(PENSTOCK_JSON_FOUND nlohmann/json.hpp NO_CACHE
            HINTS "${PENSTOCK_JSON_INCLUDE_DIR}" "${package}/include")
  if(NOT PENSTOCK_JSON_FOUND)
    message(FATAL_ERROR "nlohmann/json.hpp not found: run `pip install nlohmann-json` for the Python "
                        "that CMake uses (${Python_EXECUTABLE}), or set PENSTOCK_JSON_INCLUDE_DIR.")
  endif()
  set(PENSTOCK_JSON_DIR "${PENSTOCK_JSON_FOUND}" PARENT_SCOPE)
endfunction()
penstock_find_json()

if(PENSTOCK_PYTHON)
  penstock_python_package(nanobind nanobind_package)
  find_package(nanobind CONFIG REQUIRED HINTS "${nanobind_package}/cmake")
endif()
if(PENSTOCK_BUILD_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    message(FATAL_ERROR "GoogleTest not found: install it (Debian, Ubuntu: apt-get install "
                        "libgtest-dev) or configure with PENSTOCK_BUILD_TESTS=OFF.")
  endif()
endif()
