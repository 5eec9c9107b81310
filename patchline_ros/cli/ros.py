"""What the commands that need ROS 2 check first."""

from __future__ import annotations

import importlib.util

from patchline_ros.cli.errors import USER_ERROR, fail


def require_ros() -> None:
    """Ends the command with a sentence when ROS 2 or the built messages are not there."""
    if importlib.util.find_spec("rclpy") is None:
        fail(
            "this needs ROS 2: call ./patchline in a checkout, which sets it up, or "
            "source the setup file of your ROS 2",
            USER_ERROR,
        )
    if importlib.util.find_spec("patchline_ros.msg") is None:
        fail(
            "the messages of patchline_ros are not built or not sourced: call ./patchline demo in "
            "a checkout, or colcon build and source install/setup.bash",
            USER_ERROR,
        )
