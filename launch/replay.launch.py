"""A recorded drive instead of a camera: plays a bag into the car's graph, with its time.

    ros2 launch patchline_ros replay.launch.py bag:=drive

The nodes take the time of the recording (use_sim_time), and nothing is played before all of them
are active. Of a recording of the whole graph only what the car takes in is played. All arguments of
car.launch.py can be given, too.
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
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription
from patchline_ros.graph.description import (
    GraphSettings,
    describe,
    parse_remap,
    profile_variables,
)
from patchline_ros.graph.launch_needs import OTHERS, ask_nodes_python, find, program, teacher_of
from patchline_ros.package_share import PACKAGE
from patchline_ros.word_lists import float_argument

CAR = Path(__file__).with_name("car.launch.py")
PROFILE = Path(get_package_share_directory(PACKAGE), "config", "fastdds.xml")
TRUTH = ["true", "false"]

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="folder or file of rosbag2, sqlite3 or mcap"),
    DeclareLaunchArgument(
        "rate", default_value="1.0", description="seconds of the recording a second"
    ),
    DeclareLaunchArgument(
        "start", default_value="0.0", description="seconds of the recording to leave out"
    ),
    DeclareLaunchArgument(
        "loop",
        default_value="false",
        choices=TRUTH,
        description="from the start again at the end",
    ),
    DeclareLaunchArgument(
        "topics",
        default_value="",
        description="of the bag, with commas between; empty: all but what the graph publishes",
    ),
    DeclareLaunchArgument(
        "stay",
        default_value="false",
        choices=TRUTH,
        description="keep the graph when the bag has ended, so that a training can end",
    ),
    DeclareLaunchArgument(
        "store",
        default_value=time.strftime("~/.ros/patchline_replay/%Y%m%d-%H%M%S"),
        description="folder that keeps labelled frames and patch sets; a new one decides as a car "
        "does that has seen nothing yet",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The car and the player, once the arguments of both are checked."""
    checked: list[Action] = []
    check = OpaqueFunction(function=lambda context: checked.extend(player(context)))
    play = OpaqueFunction(function=lambda _: checked)
    car = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(CAR)), launch_arguments={"use_sim_time": "true"}.items()
    )
    variables = profile_variables(PROFILE, os.environ)
    profile = [SetEnvironmentVariable(name, value) for name, value in variables.items()]
    return LaunchDescription([*ARGUMENTS, *profile, check, car, play])


def player(context: LaunchContext) -> list[Action]:
    """The process that plays. Raises ValueError where there is nothing to play."""
    context.extend_globals({OTHERS: {argument.name for argument in ARGUMENTS}})
    given = {
        name: LaunchConfiguration(name, default="").perform(context)
        for name in (
            *(argument.name for argument in ARGUMENTS),
            "namespace",
            "remap",
            "labeller",
            "labeller_tasks",
            "teacher",
            "ground",
            "depth_topic",
        )
    }
    find(program("bag_player"))
    asked = [f"--{name}={given[name]}" for name in ("bag", "topics", "start", "teacher")]
    answer = ask_nodes_python(asked)
    namespace = given["namespace"].strip("/")
    labelled = given["labeller_tasks"] if given["labeller"] == "true" else ""
    settings = GraphSettings(
        bundle="",
        store="",
        labeller_tasks=labelled,
        teacher=teacher_of(answer),
        ground=given["ground"] == "true",
        depth_topic=given["depth_topic"],
    )
    names = [
        "/".join(["", *filter(None, [node.namespace_below(namespace)]), node.name])
        for node in describe(settings)
    ]
    return [
        Node(
            package=PACKAGE,
            executable="bag_player",
            parameters=[
                {
                    "bag": given["bag"],
                    "topics": ",".join(answer["topics"]),
                    "rate": float_argument("rate", given["rate"]),
                    "start": float_argument("start", given["start"]),
                    "loop": given["loop"] == "true",
                    "wait_for": ",".join(names),
                }
            ],
            remappings=list(parse_remap(given["remap"].split()).items()),
            output="screen",
            on_exit=[] if given["stay"] == "true" else [Shutdown(reason="the bag has ended")],
        )
    ]
