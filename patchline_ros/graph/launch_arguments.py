"""The arguments of the launch files, declared once: for launch, and for docs/launch.md.

It imports no launch, which only ROS 2 from apt has.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from patchline_ros.graph.camera_drivers import DRIVERS, NO_DRIVER
from patchline_ros.graph.description import SIGN_IMAGE_TOPIC, GraphSettings
from patchline_ros.package_share import SIM_BUNDLE

SHARE: Final = "SHARE"
"""Stands in a default for the package's share folder."""
_TRUTH: Final = ("true", "false")


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of a launch file.

    Attributes:
        name: as it is given, NAME:=VALUE.
        default: None for one that must be given. `SHARE` stands for the package's share folder, and
            the directives of strftime for the time of the launch.
        description: what `--show-args` says.
        choices: all values that it may have; empty: any.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()

    def keywords(self, share: Path) -> dict[str, Any]:
        """Of launch's `DeclareLaunchArgument`.

        Args:
            share: the package's share folder.
        """
        default = self.default
        if default is not None:
            default = time.strftime(default).replace(SHARE, str(share))
        return {
            "name": self.name,
            "default_value": default,
            "description": self.description,
            "choices": list(self.choices) or None,
        }


CAR: Final = (
    LaunchArgument("namespace", "", "before every relative name"),
    LaunchArgument(
        "bundle",
        f"{SHARE}/{SIM_BUNDLE.as_posix()}",
        "folder made by `patchline offline`; the default knows the simulated road only",
    ),
    LaunchArgument(
        "store",
        "~/.ros/patchline",
        "folder that keeps labelled frames and patch sets; one for each car",
    ),
    LaunchArgument(
        "image_topic",
        GraphSettings.image_topic,
        "the road camera, in the namespace unless it begins with / (the default is AgileX LIMO's)",
    ),
    LaunchArgument(
        "sign_image_topic", "", "pictures of traffic signs; empty: those of image_topic"
    ),
    LaunchArgument(
        "camera_driver",
        NO_DRIVER,
        "package of a driver to start: astra_camera or orbbec_camera (version 1) for a LIMO, "
        "realsense2_camera on a Scout or Hunter (docs/car.md)",
        (NO_DRIVER, *DRIVERS),
    ),
    LaunchArgument(
        "remap",
        "",
        "FROM:=TO for topics and services of all nodes but a teacher's, several with spaces "
        "between",
    ),
    LaunchArgument(
        "image_transport",
        GraphSettings.image_transport,
        "compressed reads <image_topic>/compressed",
        ("raw", "compressed"),
    ),
    LaunchArgument(
        "image_reliability",
        GraphSettings.image_reliability,
        "asked of the camera; best_effort hears every camera",
        ("best_effort", "reliable"),
    ),
    LaunchArgument(
        "use_sim_time", "false", "take the time from /clock, as when a bag is replayed", _TRUTH
    ),
    LaunchArgument(
        "params_file", f"{SHARE}/config/car.yaml", "parameters that are no argument here"
    ),
    LaunchArgument(
        "autostart",
        "true",
        "false: a lifecycle manager configures and activates the nodes",
        _TRUTH,
    ),
    LaunchArgument("use_respawn", "false", "start a node again when it ends", _TRUTH),
    LaunchArgument(
        "log_level",
        "info",
        "from which level on the nodes say something",
        ("debug", "info", "warn", "error", "fatal"),
    ),
    LaunchArgument(
        "labeller",
        "false",
        "let others teach the car: detectors, a larger model, people (docs/labelling.md)",
        _TRUTH,
    ),
    LaunchArgument(
        "labeller_tasks",
        "",
        "tasks that they label, with commas between: classification, detection, segmentation",
    ),
    LaunchArgument(
        "teacher",
        "",
        "folder of a bundle with larger models, whose answers are labels for the car "
        "(docs/labelling.md); empty: none",
    ),
    LaunchArgument(
        "teacher_rate", "1.0", "most pictures a second that each model of the teacher looks at"
    ),
    LaunchArgument(
        "ground",
        "false",
        "put the drivable area and the lanes on the ground before the car, for Nav2 "
        "(docs/ground.md)",
        _TRUTH,
    ),
    LaunchArgument(
        "depth_topic",
        "",
        "depth registered to the road camera's pictures, with which objects are found in space "
        "(docs/ground.md); empty: none",
    ),
    LaunchArgument("rviz", "false", "open RViz beside the graph", _TRUTH),
)
"""Of car.launch.py, and so of the other two, which include it."""

SIM: Final = (
    LaunchArgument(
        "condition",
        "fog",
        "what the weather changes to",
        ("clear", "fog", "rain", "snow", "night"),
    ),
    LaunchArgument("severity", "0.0", "of it, up to 1; 0: as in the demo"),
    LaunchArgument("change_after", "15.0", "seconds of clear weather before it"),
    LaunchArgument(
        "labels",
        "true",
        "publish labelled frames, too, without which nothing can be trained",
        _TRUTH,
    ),
    LaunchArgument("rate", "6.0", "pictures a second"),
    LaunchArgument("seed", "1", "of the road"),
    LaunchArgument(
        "sign_image_topic",
        SIGN_IMAGE_TOPIC,
        "pictures of the sign camera, a long lens that turns to the next sign",
    ),
    LaunchArgument(
        "store",
        "~/.ros/patchline_sim/%Y%m%d-%H%M%S",
        "folder that keeps labelled frames and patch sets; a new one has seen nothing",
    ),
)
"""Of sim.launch.py alone, or with another default there."""

REPLAY: Final = (
    LaunchArgument("bag", None, "folder or file of rosbag2, sqlite3 or mcap"),
    LaunchArgument("rate", "1.0", "seconds of the recording a second"),
    LaunchArgument("start", "0.0", "seconds of the recording to leave out"),
    LaunchArgument("loop", "false", "from the start again at the end", _TRUTH),
    LaunchArgument(
        "topics",
        "",
        "of the bag, with commas between; empty: all but what the graph publishes",
    ),
    LaunchArgument(
        "stay",
        "false",
        "keep the graph when the bag has ended, so that a training can end",
        _TRUTH,
    ),
    LaunchArgument(
        "store",
        "~/.ros/patchline_replay/%Y%m%d-%H%M%S",
        "folder that keeps labelled frames and patch sets; a new one decides as a car does that "
        "has seen nothing yet",
    ),
)
"""Of replay.launch.py alone, or with another default there."""
