# Compiler settings shared by every target of the project.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# Optimised, with asserts. Forced, since CMake has made it an empty cache entry before.
if(NOT CMAKE_CXX_FLAGS_TEST)
  set(CMAKE_CXX_FLAGS_TEST "-O1" CACHE STRING "Flags of the build type Test" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# A fused multiply-add is written where it is meant: results must not depend on the compiler's choice.
add_compile_options(-Wall -Wextra -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # false alarms on "text" + std::string (GCC bug 105651)
endif()
if(PENSTOCK_WERROR)
  add_compile_options(-Werror)
endif()
if(PENSTOCK_SANITIZE)
  add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
endif()

find_program(PENSTOCK_CCACHE ccache)
if(PENSTOCK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${PENSTOCK_CCACHE}")
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(PENSTOCK_X86 ON)
else()
  set(PENSTOCK_X86 OFF)
endif()
# Compilers know AMX since GCC 11.
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-mamx-int8 PENSTOCK_COMPILER_HAS_AMX)
if(PENSTOCK_X86 AND PENSTOCK_COMPILER_HAS_AMX)
  set(PENSTOCK_AMX ON)
else()
  set(PENSTOCK_AMX OFF)
endif()
