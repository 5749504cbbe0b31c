# One folder under cpp/ = one static library.

set(PENSTOCK_LIBRARIES "" CACHE INTERNAL "Targets to install")

# Sets `out` to whether this build compiles a file below cpp/. The table of instruction sets names
# those of other architectures. Files in a folder cuda/ belong to CUDA, and no_*.cc there stands in
# where the build has none.
function(penstock_is_compiled file out)
  set(compiled ON)
  if(file IN_LIST PENSTOCK_OTHER_FILES)
    set(compiled OFF)
  elseif(file MATCHES "/cuda/no_[^/]*$")
    if(PENSTOCK_CUDA)
      set(compiled OFF)
    endif()
  elseif(file MATCHES "/cuda/")
    set(compiled ${PENSTOCK_CUDA})
  endif()
  set(${out} ${compiled} PARENT_SCOPE)
endfunction()

# penstock_library(<folder> [<folder it may include>...]) makes penstock_<folder> from all .cc and .cu
# files below cpp/<folder>. A folder without sources becomes an interface library with the same links.
function(penstock_library folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
       "${folder}/*.cc" "${folder}/*.cu")
  set(sources "")
  foreach(file IN LISTS found)
    penstock_is_compiled("${file}" compiled)
    if(NOT compiled)
      continue()
    endif()
    list(APPEND sources "${file}")
    if(file IN_LIST PENSTOCK_ISA_FILES)
      set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS "${PENSTOCK_FLAGS_${file}}")
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
