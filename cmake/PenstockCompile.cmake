# What makes the libraries compile faster: one precompiled header of standard headers, and how much
# each file is optimised.

# The header holds nothing of ours. A file must include what it uses all the same: builds of type
# Test, which hold the sanitizers and the build for aarch64, do without it, and so do all tests.
# Only GCC has it, since only GCC was tried.
set(penstock_precompiled OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release")
  set(penstock_precompiled ON)
endif()
option(PENSTOCK_PRECOMPILED_HEADER "Parse the standard headers once" ${penstock_precompiled})

# Without <filesystem> and <chrono>: they bring <iomanip>, whose names (std::quoted) are found
# wherever an argument is a std::string.
set(PENSTOCK_STANDARD_HEADERS
    <algorithm> <array> <atomic> <bit> <cerrno> <cmath> <condition_variable> <cstddef> <cstdint>
    <cstdio> <cstring> <deque> <functional> <initializer_list> <iterator> <limits> <list> <map>
    <memory> <mutex> <optional> <set> <span> <string> <string_view> <system_error> <thread> <tuple>
    <unordered_map> <utility> <variant> <vector>)

# Files with hot loops keep the -O3 of CMake's release builds; so do these whole folders.
set(PENSTOCK_HOT_FOLDERS kernels tensor)
set(PENSTOCK_HOT_FILES base/crc32c.cc engine/sampler.cc)

# penstock_compile_faster(<folder> <source>...): for the library penstock_<folder>.
function(penstock_compile_faster folder)
  if(NOT folder IN_LIST PENSTOCK_HOT_FOLDERS)
    target_compile_options(penstock_${folder} PRIVATE "$<$<CONFIG:Release>:-O2>")
  endif()
  foreach(file IN LISTS ARGN)
    if(file IN_LIST PENSTOCK_HOT_FILES OR file IN_LIST PENSTOCK_ISA_FILES)
      set_property(SOURCE "${file}" APPEND PROPERTY COMPILE_OPTIONS "$<$<CONFIG:Release>:-O3>")
    endif()
    # Kernels include few headers, and those with flags of their own could not use this one.
    if(file MATCHES "^kernels/cpu/" OR file IN_LIST PENSTOCK_ISA_FILES)
      set_source_files_properties("${file}" PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
  if(NOT PENSTOCK_PRECOMPILED_HEADER)
    return()
  endif()
  if(folder STREQUAL "base")
    target_precompile_headers(penstock_base PRIVATE ${PENSTOCK_STANDARD_HEADERS})
  else()
    target_precompile_headers(penstock_${folder} REUSE_FROM penstock_base)
  endif()
  # The preprocessed text names the header, as ccache asks.
  target_compile_options(penstock_${folder} PRIVATE -fpch-preprocess)
endfunction()
