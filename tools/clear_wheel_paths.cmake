# Included by project() of the packages built here (through CMAKE_PROJECT_<name>_INCLUDE). Makes
# two kinds of include folders acceptable to CMake, without touching what is installed.

# The targets that the ROS 2 wheels export name folders of the machine that built the wheels,
# below /opt/python. CMake refuses a target whose include folder does not exist.
function(patchline_clear_wheel_paths)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      list(FILTER folders EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
    endif()
  endforeach()
endfunction()

# The private Python environment, and NumPy's headers with it, lies inside the checkout. CMake
# refuses to export a target that points into its own source folder, so those folders are needed
# during the build only.
function(patchline_keep_environment_private)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      set(kept "")
      foreach(folder IN LISTS folders)
        string(FIND "${folder}" "${PROJECT_SOURCE_DIR}/.patchline/" position)
        if(position EQUAL 0)
          set(folder "$<BUILD_INTERFACE:${folder}>")
        endif()
        list(APPEND kept "${folder}")
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
    endif()
  endforeach()
endfunction()

# Deferred, because the targets come after project().
cmake_language(DEFER CALL patchline_clear_wheel_paths)
cmake_language(DEFER CALL patchline_keep_environment_private)
