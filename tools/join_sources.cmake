# Included by project() of the packages built here (through CMAKE_PROJECT_INCLUDE). Each library of
# C++ type support is compiled as one source: most of the time went into reading the same headers
# again for every message. The C sources can't be joined: names in them come twice.
function(patchline_join_sources)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_typesupport_(cpp|fastrtps_c|fastrtps_cpp)$")
  if(targets)
    set_target_properties(${targets} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  endif()
endfunction()

# Deferred, because the targets come after project().
cmake_language(DEFER CALL patchline_join_sources)
