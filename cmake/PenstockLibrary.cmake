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
function(penstock_library folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc"
       "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cu")
  set(sources "")
  foreach(file IN LISTS found)
    penstock_is_compiled("${file}" compiled)
    if(compiled)
      penstock_isa_flags("${file}")
      list(APPEND sources "${file}")
    endif()
  endforeach()
  list(TRANSFORM ARGN PREPEND penstock_ OUTPUT_VARIABLE links)

  set(target penstock_${folder})
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    target_include_directories(${target} SYSTEM PRIVATE "${PENSTOCK_JSON_DIR}")
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope}
    "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>"
    "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>")
  target_link_libraries(${target} ${scope} ${links} Threads::Threads)
  if(PENSTOCK_CUDA AND found MATCHES "/cuda/")
    target_link_libraries(${target} ${scope} CUDA::cudart_static)
  endif()
  target_compile_features(${target} ${scope} cxx_std_20)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${folder})
  set(PENSTOCK_LIBRARIES ${PENSTOCK_LIBRARIES} ${target} CACHE INTERNAL "Targets to install")
endfunction()
