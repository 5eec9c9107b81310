"""The Fast DDS profile that is shipped: for large pictures, ports and memory (docs/car.md)."""

from __future__ import annotations

import os

from patchline_ros.graph.description import profile_variables
from patchline_ros.package_share import share_folder


def use_shipped_profile() -> None:
    """Has this process read it, unless the user named another one; before rclpy begins.

    Launch files name it for all of their nodes. A node that is started alone would go without.
    """
    os.environ.update(profile_variables(share_folder() / "config" / "fastdds.xml", os.environ))
