# Installs the libraries, the public headers and the CMake package `penstock`.
# In a wheel everything lands inside the Python package penstock/.
include(CMakePackageConfigHelpers)

set(penstock_package_dir lib/cmake/penstock)
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/penstockConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/penstockConfig.cmake" INSTALL_DESTINATION ${penstock_package_dir})
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/penstockConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/penstockConfig.cmake"
              "${PROJECT_BINARY_DIR}/penstockConfigVersion.cmake"
        DESTINATION ${penstock_package_dir})

install(TARGETS penstock ${PENSTOCK_LIBRARIES} EXPORT penstockTargets ARCHIVE DESTINATION lib)
install(EXPORT penstockTargets NAMESPACE penstock:: DESTINATION ${penstock_package_dir})
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/include/penstock" DESTINATION include
        FILES_MATCHING PATTERN "*.h")
