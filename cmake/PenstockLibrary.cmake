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
# With CUDA the files in folders cuda/ make a library of their own: see penstock_cuda_library().
function(penstock_library folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
       "${folder}/*.cc" "${folder}/*.cu")
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
      list(APPEND sources "${file}")
      if(file IN_LIST PENSTOCK_ISA_FILES)
        set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS "${PENSTOCK_FLAGS_${file}}")
      endif()
    endif()
  endforeach()
  set(links ${ARGN})
  list(TRANSFORM links PREPEND penstock_)

  if(sources)
    penstock_static_library(${folder} ${sources})
    penstock_compile_faster(${folder} ${sources})
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
