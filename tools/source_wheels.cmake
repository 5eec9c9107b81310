# Included by project() of the packages built here (through CMAKE_PROJECT_INCLUDE) where ROS comes
# from wheels. Their prefix is a Python environment without setup files, so the install/setup.bash
# that colcon writes does not chain to it: each package brings it along as an environment hook.
find_package(ament_cmake REQUIRED)
ament_environment_hooks(${CMAKE_CURRENT_LIST_DIR}/wheels.dsv.in)
