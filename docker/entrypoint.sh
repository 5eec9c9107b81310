#!/bin/bash
# Runs a command in the environment of ROS 2, of the nodes' Python, and of the built package.
# Their setup files use variables that are not set.
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/patchline/bin/activate
source /ws/install/setup.bash
exec "$@"
