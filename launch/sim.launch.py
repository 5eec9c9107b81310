"""The simulated road instead of a camera: see the graph notice fog, adapt, and see better.

    ros2 launch patchline_ros sim.launch.py condition:=night rviz:=true

The weather is clear first. `ros2 param set /camera condition clear` changes it while it runs. All
arguments of car.launch.py can be given, too.
"""

import os
import time
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription
from patchline_ros.graph.description import (
    ROAD_IMAGE_TOPIC,
    SIGN_IMAGE_TOPIC,
    GraphSettings,
    parse_remap,
    profile_variables,
)
from patchline_ros.graph.launch_needs import OTHERS, find, program
from patchline_ros.package_share import PACKAGE
from patchline_ros.word_lists import float_argument

CAR = Path(__file__).with_name("car.launch.py")
PROFILE = Path(get_package_share_directory(PACKAGE), "config", "fastdds.xml")

ARGUMENTS = [
    DeclareLaunchArgument(
        "condition",
        default_value="fog",
        choices=["clear", "fog", "rain", "snow", "night"],
        description="what the weather changes to",
    ),
    DeclareLaunchArgument(
        "severity", default_value="0.0", description="of it, up to 1; 0: as in the demo"
    ),
    DeclareLaunchArgument(
        "change_after", default_value="15.0", description="seconds of clear weather before it"
    ),
    DeclareLaunchArgument(
        "labels",
        default_value="true",
        choices=["true", "false"],
        description="publish labelled frames, too, without which nothing can be trained",
    ),
    DeclareLaunchArgument("rate", default_value="6.0", description="pictures a second"),
    DeclareLaunchArgument("seed", default_value="1", description="of the road"),
    DeclareLaunchArgument(
        "sign_image_topic",
        default_value=SIGN_IMAGE_TOPIC,
        description="pictures of the sign camera, a long lens that turns to the next sign",
    ),
    DeclareLaunchArgument(
        "store",
        default_value=time.strftime("~/.ros/patchline_sim/%Y%m%d-%H%M%S"),
        description="folder that keeps labelled frames and patch sets; a new one has seen nothing",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The car and the camera, once the arguments of both are checked."""
    checked: list[Action] = []
    check = OpaqueFunction(function=lambda context: checked.extend(camera(context)))
    show = OpaqueFunction(function=lambda _: checked)
    car = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(CAR)))
    variables = profile_variables(PROFILE, os.environ)
    profile = [SetEnvironmentVariable(name, value) for name, value in variables.items()]
    return LaunchDescription([*ARGUMENTS, *profile, check, car, show])


def camera(context: LaunchContext) -> list[Action]:
    """The process that renders. Raises ValueError for an argument that is no number."""
    context.extend_globals({OTHERS: {argument.name for argument in ARGUMENTS}})
    defaults = {"image_topic": GraphSettings.image_topic, "namespace": "", "remap": ""}
    given = {
        name: LaunchConfiguration(name, default=defaults.get(name, "")).perform(context)
        for name in (*(argument.name for argument in ARGUMENTS), *defaults)
    }
    find(program("sim_camera"))
    return [
        Node(
            package=PACKAGE,
            executable="sim_camera",
            name="camera",
            namespace=given["namespace"],
            parameters=[
                {
                    "condition": given["condition"],
                    "severity": float_argument("severity", given["severity"]),
                    "change_after": float_argument("change_after", given["change_after"]),
                    "labels": given["labels"] == "true",
                    "rate_hz": float_argument("rate", given["rate"]),
                    "seed": int(float_argument("seed", given["seed"])),
                }
            ],
            remappings=[
                *parse_remap(given["remap"].split()).items(),
                (ROAD_IMAGE_TOPIC, given["image_topic"]),
                (SIGN_IMAGE_TOPIC, given["sign_image_topic"]),
            ],
            output="screen",
        )
    ]
