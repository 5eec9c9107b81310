"""Drivers of cameras that car.launch.py can start (docs/car.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NO_DRIVER: Final = "none"


@dataclass(frozen=True)
class CameraDriver:
    """How the launch starts the driver of a package.

    Attributes:
        files: its launch files, of which the first that is there is included.
        advice: how to install it.
        arguments: of its launch file.
    """

    files: tuple[str, ...]
    advice: str
    arguments: Mapping[str, str] = field(default_factory=dict)


DRIVERS: Final = {
    # LIMO's Orbbec Dabai. The second name is the one before 2023, which AgileX's documents give.
    "astra_camera": CameraDriver(
        ("dabai_u3.launch.xml", "dabai.launch.py"), "build github.com/orbbec/ros2_astra_camera"
    ),
    "orbbec_camera": CameraDriver(
        ("dabai.launch.py",),
        "build the branch main of github.com/orbbec/OrbbecSDK_ROS2, which is version 1; version 2, "
        "its default branch and apt's package, does not know the Dabai",
    ),
    # Without a namespace of its own it publishes on camera/color/image_raw like the others.
    "realsense2_camera": CameraDriver(
        ("rs_launch.py",),
        "apt install ros-$ROS_DISTRO-realsense2-camera",
        {"camera_namespace": "", "camera_name": "camera"},
    ),
}
"""By package."""
