"""The car's graph: three perception nodes, the drift monitor, the adapter, and who labels if asked.

    ros2 launch patchline_ros car.launch.py image_topic:=/camera/color/image_raw

`--show-args` explains each argument. What runs with which parameters and remappings is described
in patchline_ros/graph/description.py, which the demo uses as well. Other launch files include this
one; they set another default by declaring the argument first.
"""

import os
from dataclasses import replace
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    ResetLaunchConfigurations,
    SetEnvironmentVariable,
)
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace

from launch import Action, LaunchContext, LaunchDescription
from patchline_ros.graph.camera_drivers import DRIVERS, NO_DRIVER
from patchline_ros.graph.description import (
    ROAD_IMAGE_TOPIC,
    SIGN_IMAGE_TOPIC,
    GraphSettings,
    NodeDescription,
    describe,
    parse_remap,
    profile_variables,
)
from patchline_ros.graph.launch_arguments import CAR
from patchline_ros.graph.launch_needs import (
    OTHERS,
    Need,
    ask_nodes_python,
    check_files,
    find,
    misspelt,
    program,
    teacher_of,
)
from patchline_ros.package_share import PACKAGE

SHARE = Path(get_package_share_directory(PACKAGE))
TRUTH = {"true": True, "false": False}

RVIZ = Need("rviz2", ("lib/rviz2/rviz2",), "rviz:=true", "apt install ros-$ROS_DISTRO-rviz2")
ASKED = {"teacher": "teacher", "teacher_rate": "teacher-rate", "bundle": "bundle"}
"""Arguments about a teacher, which the nodes' Python checks, and what it calls them."""

ARGUMENTS = [DeclareLaunchArgument(**argument.keywords(SHARE)) for argument in CAR]


def generate_launch_description() -> LaunchDescription:
    """The arguments, the Fast DDS profile, and the nodes once the arguments are known."""
    variables = profile_variables(SHARE / "config" / "fastdds.xml", os.environ)
    profile = [SetEnvironmentVariable(name, value) for name, value in variables.items()]
    return LaunchDescription([*ARGUMENTS, *profile, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    """The processes for the arguments of this call. Raises ValueError for a wrong one."""
    _warn_of_misspelt(context)
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
        params_file=str(Path(given["params_file"]).expanduser()) if given["params_file"] else "",
        autostart=TRUTH[given["autostart"]],
        log_level=given["log_level"],
        labeller_tasks=_labeller_tasks(given),
        ground=TRUTH[given["ground"]],
        depth_topic=given["depth_topic"],
        remap=_remap(given["remap"]),
    )
    check_files(settings, "{}:={}".format)
    asked = (
        [f"--{name.replace('_', '-')}={given[name]}" for name in ASKED] if given["teacher"] else []
    )
    settings = replace(settings, teacher=teacher_of(ask_nodes_python(asked)))
    described = describe(settings)
    actions = []
    if given["camera_driver"] != NO_DRIVER:
        # First: should it fail, nothing else is running yet.
        actions.append(driver(given["camera_driver"], settings.namespace, context))
    respawn = TRUTH[given["use_respawn"]]
    if TRUTH[given["rviz"]]:
        find(RVIZ)
        # RViz has no display for text: its status is a picture, which nobody else needs.
        picture = NodeDescription(
            "status_picture",
            "status_picture",
            {"use_sim_time": settings.use_sim_time},
            dict(settings.remap),
        )
        described.append(picture)
    for description in described:
        find(program(description.executable))
    actions += [node(description, settings, respawn) for description in described]
    return [*actions, rviz(settings)] if TRUTH[given["rviz"]] else actions


def _warn_of_misspelt(context: LaunchContext) -> None:
    """launch itself is silent on an argument that no file declares."""
    known = {argument.name for argument in ARGUMENTS}
    known |= context.get_locals_as_dict().get(OTHERS, set())
    for sentence in misspelt(context.argv, known):
        get_logger("launch.user").warning(sentence)


def _remap(text: str) -> dict[str, str]:
    try:
        return parse_remap(text.split())
    except ValueError as error:
        raise ValueError(f"remap: {error}") from error


def _labeller_tasks(given: dict[str, str]) -> str:
    """What the labeller labels, empty without one."""
    if not TRUTH[given["labeller"]]:
        return ""
    if not given["labeller_tasks"]:
        raise ValueError(
            "labeller:=true labels nothing without labeller_tasks, such as "
            "labeller_tasks:=detection,segmentation"
        )
    return given["labeller_tasks"]


def node(description: NodeDescription, settings: GraphSettings, respawn: bool) -> Node:
    """One process of the graph."""
    return Node(
        package=PACKAGE,
        executable=description.executable,
        name=description.name,
        # Otherwise launch calls a process that has a prefix by that.
        exec_name=".".join(filter(None, [description.namespace, description.name])),
        namespace=description.namespace_below(settings.namespace),
        parameters=[*filter(None, [settings.params_file]), description.parameters],
        remappings=list(description.remappings.items()),
        arguments=["--ros-args", "--log-level", settings.log_level],
        prefix=f"nice -n {description.niceness}" if description.niceness else None,
        respawn=respawn,
        respawn_delay=1.0,
        output="screen",
    )


def driver(package: str, namespace: str, context: LaunchContext) -> GroupAction:
    """The driver's own launch file, in the car's namespace, without arguments that it never asked.

    Raises ValueError where it is not installed, has no such launch file, or can't be read.
    """
    known = DRIVERS[package]
    below = tuple(f"share/{package}/launch/{file}" for file in known.files)
    path = find(Need(package, below, f"camera_driver:={package}", known.advice))
    source = AnyLaunchDescriptionSource(str(path))
    try:
        source.get_launch_description(context)
    except Exception as error:  # whatever a file of others raises
        why = " ".join(str(error).split())
        raise ValueError(f"camera_driver:={package}: {path} can't be used: {why}") from error
    include = IncludeLaunchDescription(source, launch_arguments=known.arguments.items())
    # With ours it would take our log_level, say, for its own. `forwarding=False` does the same, but
    # it takes away the profile, too.
    return GroupAction([ResetLaunchConfigurations(), PushRosNamespace(namespace), include])


def rviz(settings: GraphSettings) -> Node:
    """RViz with camera, overlays, mask and status."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=settings.namespace,
        arguments=["-d", str(SHARE / "config" / "patchline.rviz")],
        parameters=[{"use_sim_time": settings.use_sim_time}],
        remappings=[
            *settings.remap.items(),
            (ROAD_IMAGE_TOPIC, settings.image_topic),
            (SIGN_IMAGE_TOPIC, settings.sign_image_topic or settings.image_topic),
        ],
    )
