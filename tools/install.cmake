# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where, and the two ways to find it: pkg-config (heed.pc) and CMake (heed::heed).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
# What libheed needs is linked into it: its users link the one library. The install tree may be moved as a whole.
set_target_properties(heed PROPERTIES INTERFACE_LINK_LIBRARIES "")
install(TARGETS heed EXPORT heed_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/heed DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(HEED_PROGRAM)
  install(TARGETS heed_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY ${CMAKE_BINARY_DIR}/share/ DESTINATION ${CMAKE_INSTALL_DATADIR} OPTIONAL)    # manual, completions
endif()
configure_file(tools/heed.pc.in heed.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/heed.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(heed_package ${CMAKE_INSTALL_LIBDIR}/cmake/heed)
configure_package_config_file(tools/heed-config.cmake.in heed-config.cmake INSTALL_DESTINATION ${heed_package}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break its callers.
write_basic_package_version_file(heed-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/heed-config.cmake ${CMAKE_BINARY_DIR}/heed-config-version.cmake DESTINATION ${heed_package})
install(EXPORT heed_targets FILE heed-targets.cmake NAMESPACE heed:: DESTINATION ${heed_package})
