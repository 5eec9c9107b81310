"""The car's graph: three perception nodes, the drift monitor and the adapter.

    ros2 launch patchline_ros car.launch.py image_topic:=/camera/color/image_raw

`--show-args` explains each argument. What runs with which parameters and remappings is described
in patchline_ros/graph.py, which the demo uses as well.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from patchline_ros.graph import (
    PACKAGE,
    ROAD_IMAGE_TOPIC,
    SIGN_IMAGE_TOPIC,
    GraphSettings,
    NodeDescription,
    describe,
    profile_variables,
)

SHARE = Path(get_package_share_directory(PACKAGE))
TRUTH = {"true": True, "false": False}

ARGUMENTS = [
    DeclareLaunchArgument("namespace", default_value="", description="before every relative name"),
    DeclareLaunchArgument(
        "bundle",
        default_value=str(SHARE / "resource" / "sim_road"),
        description="folder made by `patchline offline`; the default knows the simulated road only",
    ),
    DeclareLaunchArgument(
        "store",
        default_value="~/.ros/patchline",
        description="folder that keeps labelled frames and patch sets; one for each car",
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value=GraphSettings.image_topic,
        description="the road camera (the default is AgileX LIMO's)",
    ),
    DeclareLaunchArgument(
        "sign_image_topic",
        default_value="",
        description="pictures of traffic signs; empty: those of image_topic",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value=GraphSettings.image_transport,
        choices=["raw", "compressed"],
        description="compressed reads <image_topic>/compressed",
    ),
    DeclareLaunchArgument(
        "image_reliability",
        default_value=GraphSettings.image_reliability,
        choices=["best_effort", "reliable"],
        description="asked of the camera; best_effort hears every camera",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=list(TRUTH),
        description="take the time from /clock, as when a bag is replayed",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "car.yaml"),
        description="parameters that are no argument here",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=list(TRUTH),
        description="false: a lifecycle manager configures and activates the nodes",
    ),
    DeclareLaunchArgument(
        "use_respawn",
        default_value="false",
        choices=list(TRUTH),
        description="start a node again when it ends",
    ),
    DeclareLaunchArgument(
        "log_level", default_value="info", description="debug, info, warn, error"
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=list(TRUTH), description="open RViz beside the graph"
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The arguments, the Fast DDS profile, and the nodes once the arguments are known."""
    variables = profile_variables(SHARE / "config" / "fastdds.xml", os.environ)
    profile = [SetEnvironmentVariable(name, value) for name, value in variables.items()]
    return LaunchDescription([*ARGUMENTS, *profile, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """The processes for the arguments of this call."""
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS
    }
    settings = GraphSettings(
        bundle=given["bundle"],
        store=given["store"],
        namespace=given["namespace"],
        image_topic=given["image_topic"],
        sign_image_topic=given["sign_image_topic"],
        image_transport=given["image_transport"],
        image_reliability=given["image_reliability"],
        use_sim_time=TRUTH[given["use_sim_time"]],
        params_file=given["params_file"],
        autostart=TRUTH[given["autostart"]],
        log_level=given["log_level"],
    )
    respawn = TRUTH[given["use_respawn"]]
    nodes = [node(description, settings, respawn) for description in describe(settings)]
    if not TRUTH[given["rviz"]]:
        return nodes
    # RViz has no display for text: its status is a picture, which nobody else needs.
    picture = NodeDescription(
        "status_picture", "status_picture", {"use_sim_time": settings.use_sim_time}
    )
    return [*nodes, node(picture, settings, respawn), rviz(settings)]


def node(description: NodeDescription, settings: GraphSettings, respawn: bool) -> Node:
    """One process of the graph."""
    return Node(
        package=PACKAGE,
        executable=description.executable,
        name=description.name,
        namespace=settings.namespace,
        parameters=[*filter(None, [settings.params_file]), description.parameters],
        remappings=list(description.remappings.items()),
        arguments=["--ros-args", "--log-level", settings.log_level],
        respawn=respawn,
        respawn_delay=2.0,
        output="screen",
    )


def rviz(settings: GraphSettings) -> Node:
    """RViz with camera, overlays, mask and status."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=settings.namespace,
        arguments=["-d", str(SHARE / "config" / "patchline.rviz")],
        parameters=[{"use_sim_time": settings.use_sim_time}],
        remappings=[
            (ROAD_IMAGE_TOPIC, settings.image_topic),
            (SIGN_IMAGE_TOPIC, settings.sign_image_topic or settings.image_topic),
        ],
    )
