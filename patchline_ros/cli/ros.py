"""What the commands that need ROS 2 check first."""

from __future__ import annotations

import importlib.util
import os

from patchline_ros.cli.errors import USER_ERROR, fail
from patchline_ros.graph.domain import wrong_domain


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


def require_ros_domain() -> None:
    """The same for commands that join the ROS network of the caller, which has to be one."""
    require_ros()
    if sentence := wrong_domain(os.environ):
        fail(sentence, USER_ERROR)
