# The table of instruction sets: which files are compiled for which processors, and with what flags.
# A file below cpp/ that is not named here is compiled in every build, for the plainest processor
# of its architecture: x86-64 has SSE2, aarch64 has NEON.

# The architecture of the target, which need not be that of the machine that builds.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(PENSTOCK_ARCHITECTURE x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(PENSTOCK_ARCHITECTURE aarch64)
else()
  set(PENSTOCK_ARCHITECTURE other)
endif()

set(PENSTOCK_OTHER_FILES "")  # of other architectures
set(PENSTOCK_ISA_FILES "")    # compiled with PENSTOCK_FLAGS_<file>
set(PENSTOCK_ISA_FLAGS "")    # all of them

# penstock_isa(<architecture> FILES <file>... [FLAGS <flag>...]) is a row: files that belong to one
# architecture, and their flags. Files without flags ask the processor; all others may run only
# after it was asked.
function(penstock_isa architecture)
  cmake_parse_arguments(PARSE_ARGV 1 row "" "" "FILES;FLAGS")
  foreach(file IN LISTS row_FILES)
    if(NOT EXISTS "${PROJECT_SOURCE_DIR}/cpp/${file}")
      message(FATAL_ERROR "The table of instruction sets names a missing file: cpp/${file}")
    endif()
    if(NOT architecture STREQUAL PENSTOCK_ARCHITECTURE)
      list(APPEND PENSTOCK_OTHER_FILES "${file}")
    elseif(row_FLAGS)
      list(APPEND PENSTOCK_ISA_FILES "${file}")
      list(APPEND PENSTOCK_ISA_FLAGS ${row_FLAGS})
      set(PENSTOCK_FLAGS_${file} "${row_FLAGS}" PARENT_SCOPE)
    endif()
  endforeach()
  set(PENSTOCK_OTHER_FILES "${PENSTOCK_OTHER_FILES}" PARENT_SCOPE)
  set(PENSTOCK_ISA_FILES "${PENSTOCK_ISA_FILES}" PARENT_SCOPE)
  set(PENSTOCK_ISA_FLAGS "${PENSTOCK_ISA_FLAGS}" PARENT_SCOPE)
endfunction()

set(avx2 -mavx2 -mfma -mf16c)
set(avx2vnni ${avx2} -mavxvnni)
set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
set(avx512bf16 ${avx512} -mavx512bf16)
set(avx512amx ${avx512bf16} -mamx-tile -mamx-bf16 -mamx-int8)

penstock_isa(x86_64 FILES kernels/cpu/isas_x86.cc kernels/cpu/x86_probe.cc base/crc32c_x86.cc)
penstock_isa(x86_64 FILES base/crc32c_sse42.cc FLAGS -msse4.2)
penstock_isa(x86_64 FILES kernels/cpu/avx2.cc FLAGS ${avx2})
penstock_isa(x86_64 FILES kernels/cpu/avx2vnni.cc FLAGS ${avx2vnni})
penstock_isa(x86_64 FILES kernels/cpu/avx512.cc FLAGS ${avx512})
penstock_isa(x86_64 FILES kernels/cpu/avx512bf16.cc FLAGS ${avx512bf16})
penstock_isa(x86_64 FILES kernels/cpu/avx512amx.cc FLAGS ${avx512amx})

set(dotprod -march=armv8.2-a+dotprod)
set(bf16 -march=armv8.2-a+dotprod+bf16)

penstock_isa(aarch64 FILES kernels/cpu/isas_arm.cc kernels/cpu/arm_probe.cc base/crc32c_arm.cc)
penstock_isa(aarch64 FILES kernels/cpu/neon.cc)
penstock_isa(aarch64 FILES base/crc32c_armv8.cc FLAGS -march=armv8-a+crc)
penstock_isa(aarch64 FILES kernels/cpu/neon_dotprod.cc FLAGS ${dotprod})
penstock_isa(aarch64 FILES kernels/cpu/neon_bf16.cc FLAGS ${bf16})

penstock_isa(other FILES kernels/cpu/isas_other.cc base/crc32c_other.cc)

if(PENSTOCK_ISA_FLAGS)
  include(CheckCXXCompilerFlag)
  list(REMOVE_DUPLICATES PENSTOCK_ISA_FLAGS)
  list(JOIN PENSTOCK_ISA_FLAGS " " flags)
  check_cxx_compiler_flag("${flags}" PENSTOCK_COMPILER_KNOWS_ISAS)
  if(NOT PENSTOCK_COMPILER_KNOWS_ISAS)
    message(FATAL_ERROR "Penstock needs GCC 11 or a newer compiler: this one does not know all of ${flags}")
  endif()
endif()
