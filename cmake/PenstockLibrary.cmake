# One folder under cpp/ = one static library.

set(PENSTOCK_LIBRARIES "" CACHE INTERNAL "Targets to install")

set(PENSTOCK_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(PENSTOCK_AVX512_FLAGS ${PENSTOCK_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512vl -mavx512dq
    -mavx512vnni)

# Sets `out` to ON when this build compiles `file`. By its name a file belongs to a feature: a file
# in a folder cuda/ to CUDA, *amx* to AMX, *avx2* *avx512* *sse42* x86_* to x86-64. A file named *_stub.cc or no_*.cc
# stands in where the feature is off (outside cuda/: where the processor is not x86-64).
function(penstock_is_compiled file out)
  get_filename_component(name "${file}" NAME)
  set(feature ON)
  if(file MATCHES "/cuda/")
    set(feature ${PENSTOCK_CUDA})
  elseif(name MATCHES "amx")
    set(feature ${PENSTOCK_AMX})
  elseif(name MATCHES "^x86_|avx2|avx512|sse42|_stub\\.cc$|^no_")
    set(feature ${PENSTOCK_X86})
  endif()
  if(name MATCHES "_stub\\.cc$|^no_")
    if(feature)
      set(feature OFF)
    else()
      set(feature ON)
    endif()
  endif()
  set(${out} ${feature} PARENT_SCOPE)
endfunction()

# Gives an ISA file its instruction set; every other file keeps the x86-64 baseline.
function(penstock_isa_flags file)
  get_filename_component(name "${file}" NAME)
  set(flags "")
  if(name MATCHES "avx512")
    set(flags ${PENSTOCK_AVX512_FLAGS})
    if(name MATCHES "avx512bf16")
      list(APPEND flags -mavx512bf16)
    elseif(name MATCHES "avx512amx")
      list(APPEND flags -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)
    endif()
  elseif(name MATCHES "avx2")
    set(flags ${PENSTOCK_AVX2_FLAGS})
  elseif(name MATCHES "sse42")
    set(flags -msse4.2)
  endif()
  if(flags AND NOT name MATCHES "_stub\\.cc$|^no_")
    set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS "${flags}")
  endif()
endfunction()

# penstock_library(<folder> [<folder it may include>...]) makes penstock_<folder> from all .cc and .cu
# files below cpp/<folder>. A folder without sources becomes an interface library with the same links.
# With CUDA the files in folders cuda/ make a library of their own: see penstock_cuda_library().
function(penstock_library folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc"
       "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cu")
  set(sources "")
  set(cuda_sources "")
  set(cuda_stubs "")
  foreach(file IN LISTS found)
    penstock_is_compiled("${file}" compiled)
    if(PENSTOCK_CUDA AND file MATCHES "/cuda/" AND compiled)
      list(APPEND cuda_sources "${file}")
    elseif(PENSTOCK_CUDA AND file MATCHES "/cuda/")
      list(APPEND cuda_stubs "${file}")
    elseif(compiled)
      penstock_isa_flags("${file}")
      list(APPEND sources "${file}")
    endif()
  endforeach()
  set(links ${ARGN})
  list(TRANSFORM links PREPEND penstock_)

  if(sources)
    penstock_static_library(${folder} ${sources})
    set(scope PUBLIC)
  else()
    add_library(penstock_${folder} INTERFACE)
    set(scope INTERFACE)
    penstock_library_settings(${folder} INTERFACE)
  endif()
  target_link_libraries(penstock_${folder} ${scope} ${links} Threads::Threads)
  if(cuda_sources)
    penstock_cuda_library(${folder} "${cuda_sources}" "${cuda_stubs}" ${ARGN})
  endif()
endfunction()

# Include folders, language level, and the name that other projects link.
function(penstock_library_settings name scope)
  set(target penstock_${name})
  target_include_directories(${target} ${scope}
    "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>"
    "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>")
  target_compile_features(${target} ${scope} cxx_std_20)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  set(PENSTOCK_LIBRARIES ${PENSTOCK_LIBRARIES} ${target} CACHE INTERNAL "Targets to install")
endfunction()

function(penstock_static_library name)
  add_library(penstock_${name} STATIC ${ARGN})
  target_include_directories(penstock_${name} SYSTEM PRIVATE "${PENSTOCK_JSON_DIR}")
  penstock_library_settings(${name} PUBLIC)
endfunction()

# penstock_<folder>_cuda holds a folder's CUDA part and penstock_<folder>_no_cuda the stubs that
# stand in for it. Inside this project the first is linked. An application links one of the two, by
# the components that it asks find_package(penstock) for, so only the first needs a CUDA toolkit.
function(penstock_cuda_library folder sources stubs)
  penstock_static_library(${folder}_cuda ${sources})
  target_link_libraries(penstock_${folder}_cuda PUBLIC penstock_${folder} CUDA::cudart_static)
  foreach(other IN LISTS ARGN)
    if(TARGET penstock_${other}_cuda)
      target_link_libraries(penstock_${folder}_cuda PUBLIC penstock_${other}_cuda)
    endif()
  endforeach()
  if(stubs)
    penstock_static_library(${folder}_no_cuda ${stubs})
    target_link_libraries(penstock_${folder}_no_cuda PUBLIC penstock_${folder})
    target_link_libraries(penstock_${folder} PUBLIC
      "$<BUILD_INTERFACE:penstock_${folder}_cuda>" "$<INSTALL_INTERFACE:penstock::${folder}_gpu>")
  endif()
endfunction()
