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
set(penstock_warnings -Wall -Wextra -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND penstock_warnings -Wno-restrict)  # false alarms on "text" + std::string (GCC bug 105651)
endif()
set(penstock_cuda_options --expt-relaxed-constexpr --fmad=false)
if(PENSTOCK_WERROR)
  list(APPEND penstock_warnings -Werror)
  list(APPEND penstock_cuda_options --Werror=all-warnings)
endif()
list(JOIN penstock_warnings "," penstock_host_warnings)
list(APPEND penstock_cuda_options -Xcompiler=${penstock_host_warnings})
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${penstock_warnings}>"
                    "$<$<COMPILE_LANGUAGE:CUDA>:${penstock_cuda_options}>")
if(PENSTOCK_SANITIZE)
  add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
endif()

find_program(PENSTOCK_CCACHE ccache)
if(PENSTOCK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache leaves alone whatever uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      "/usr/bin/env;CCACHE_SLOPPINESS=pch_defines,time_macros;${PENSTOCK_CCACHE}")
endif()
