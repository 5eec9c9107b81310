"""The ROS graph of the car, described once: which executables, parameters and remappings.

The launch file and the demo both build their processes from this, so it imports neither rclpy nor
launch.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from patchline_ros.package_share import PACKAGE
from patchline_ros.tasks import Task

Parameters: TypeAlias = dict[str, bool | int | float | str]
"""Parameters of one node, by name."""

NODE_OF_TASK = {
    Task.CLASSIFICATION: "sign_classifier",
    Task.DETECTION: "object_detector",
    Task.SEGMENTATION: "lane_segmenter",
}
"""The perception node that runs each task; its topics are below this name."""

ROAD_NAME_OF_TASK = {
    Task.CLASSIFICATION: "signs",
    Task.DETECTION: "objects",
    Task.SEGMENTATION: "lanes",
}
"""What each task is about on the road: topics and people call it so."""

ROAD_IMAGE_TOPIC = "image_raw"
"""What the object detector and the lane segmenter subscribe to, before remapping."""

SIGN_IMAGE_TOPIC = "sign/image_raw"
"""What the sign classifier subscribes to, before remapping."""

DEPTH_TOPIC = "depth/image_raw"
"""What the object locator subscribes to, before remapping: depth, pixel for pixel of the road
camera's pictures."""

IMAGE_TOPIC_OF_TASK = {
    Task.CLASSIFICATION: SIGN_IMAGE_TOPIC,
    Task.DETECTION: ROAD_IMAGE_TOPIC,
    Task.SEGMENTATION: ROAD_IMAGE_TOPIC,
}

ANSWER_OF_TASK = {
    Task.CLASSIFICATION: "classification",
    Task.DETECTION: "detections",
    Task.SEGMENTATION: "mask",
}
"""The topic of each task's answers, below its perception node."""

LABEL_TOPIC_OF_TASK = {task: f"labeller/{answer}" for task, answer in ANSWER_OF_TASK.items()}
"""Where the labeller hears what others say about each task's pictures, before remapping."""

LABELLED_IMAGE_TOPIC_OF_TASK = {
    task: f"labeller/{topic}" for task, topic in IMAGE_TOPIC_OF_TASK.items()
}
"""The pictures that they say it about. Their own names, so that `remap` can tell them from those
that the models see."""

SERVICES = {
    "adapter": {"pause": True, "adapt_now": False, "republish": False, "reset": False},
    **{node: {"rollback": False, "enable": True} for node in NODE_OF_TASK.values()},
}
"""The nodes' services by their names, and whether each takes a truth value (std_srvs/srv/SetBool;
the others are std_srvs/srv/Trigger)."""

TEACHER_NAMESPACE = "teacher"
"""Of the teacher's nodes, below the car's."""

TEACHER_NICENESS = 10
"""That of a training: what is left of the processor when perception has its share."""

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""The variable that Fast DDS 3 reads, and the one that Fast DDS 2 (Humble, Jazzy) reads."""

_OWNERS = {
    *NODE_OF_TASK.values(),
    *("drift_monitor", "adapter", "patch_sets", "status", "ground_projector"),
    "object_locator",
}
_OUTPUTS = {"drift_status", "adaptation_status", "diagnostics", "rosout", "parameter_events"}
_REMAP = re.compile(r"([\w/~]+):=([\w/~]+)")


def camera_info_topic(image_topic: str) -> str:
    """Where a camera says how it projects: beside its pictures, by their full topic name."""
    return f"{image_topic.rpartition('/')[0]}/camera_info"


def patch_set_topic(task: Task) -> str:
    """The topic of a task's patch sets, relative to the car's namespace."""
    return f"patch_sets/{ROAD_NAME_OF_TASK[task]}"


@dataclass(frozen=True)
class Teacher:
    """Models whose answers are labels for the car (docs/labelling.md).

    bundle: folder with the models. classes: their names, by task. is_prepared: whether the bundle
    has patches that can answer a drift. rate: most pictures a second that each model looks at.
    """

    bundle: str
    classes: Mapping[Task, tuple[str, ...]]
    is_prepared: bool
    rate: float


@dataclass(frozen=True)
class GraphSettings:
    """What differs from one car, or one run, to the next.

    bundle: folder with the models. store: folder in which the adapter keeps labelled frames and
    patch sets. Topics may be relative (they follow the namespace) or absolute; the defaults fit the
    camera of an AgileX LIMO. An empty sign_image_topic means the road camera's. labeller_tasks: the
    tasks that the labeller labels, with commas between; empty: no labeller. ground: whether lanes
    are put on the ground (docs/ground.md). depth_topic: of a depth camera, with which objects are
    found in space; empty: none. remap: names of topics and services, for every process of the car;
    it wins over the topics above.
    """

    bundle: str
    store: str
    namespace: str = ""
    image_topic: str = "camera/color/image_raw"
    sign_image_topic: str = ""
    image_transport: str = "raw"
    image_reliability: str = "best_effort"
    use_sim_time: bool = False
    params_file: str = ""
    autostart: bool = True
    log_level: str = "info"
    labeller_tasks: str = ""
    ground: bool = False
    depth_topic: str = ""
    teacher: Teacher | None = None
    remap: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeDescription:
    """One process of the graph.

    executable: the program that is installed. name: of the node. module: what Python runs instead
    where nothing is installed, a name below the package; empty: the executable's module in nodes.
    namespace: below the car's. niceness: of the process, 0 to 19; more leaves more to others.
    """

    executable: str
    name: str
    parameters: Parameters = field(default_factory=dict)
    remappings: dict[str, str] = field(default_factory=dict)
    module: str = ""
    namespace: str = ""
    niceness: int = 0

    def namespace_below(self, car: str) -> str:
        """The node's whole namespace, for a car's; it begins with / where that one does."""
        return "/".join(filter(None, [car.rstrip("/"), self.namespace]))


def describe(
    settings: GraphSettings, changes: Mapping[str, Parameters] = MappingProxyType({})
) -> list[NodeDescription]:
    """The processes of the car, those that are asked for, and the teacher's, in starting order.

    changes: parameters by the name of the car's node, which win over those that follow from the
    settings.
    """
    shared, pictures = _shared(settings, settings.bundle), _pictures(settings)
    topics = _cameras(settings)
    perception = []
    for task, node in NODE_OF_TASK.items():
        topic = IMAGE_TOPIC_OF_TASK[task]
        perception.append(
            NodeDescription(node, node, {**shared, **pictures}, {topic: topics[topic]})
        )
    nodes = [
        *perception,
        NodeDescription("drift_monitor", "drift_monitor", dict(shared)),
        NodeDescription("adapter", "adapter", {**shared, "store": settings.store}),
    ]
    if settings.labeller_tasks:
        labelled: Parameters = {**shared, **pictures, "tasks": settings.labeller_tasks}
        own = {
            LABELLED_IMAGE_TOPIC_OF_TASK[task]: topics[topic]
            for task, topic in IMAGE_TOPIC_OF_TASK.items()
        }
        nodes.append(NodeDescription("labeller", "labeller", labelled, own))
    if settings.ground:
        # It takes no picture: beside its topic is the one that says how the camera projects.
        seen = {ROAD_IMAGE_TOPIC: topics[ROAD_IMAGE_TOPIC]}
        nodes.append(NodeDescription("ground_projector", "ground_projector", dict(shared), seen))
    if settings.depth_topic:
        depth = {DEPTH_TOPIC: settings.depth_topic}
        nodes.append(NodeDescription("object_locator", "object_locator", dict(shared), depth))
    # Of several rules for a name ROS takes the first.
    car = [
        replace(
            node,
            parameters={**node.parameters, **changes.get(node.name, {})},
            remappings={**settings.remap, **node.remappings, **settings.remap},
        )
        for node in nodes
    ]
    if settings.teacher is None:
        return car
    return [*car, *_describe_teacher(settings, settings.teacher)]


def _shared(settings: GraphSettings, bundle: str) -> Parameters:
    """Parameters of every node of the graph."""
    return {
        "bundle": bundle,
        "autostart": settings.autostart,
        "use_sim_time": settings.use_sim_time,
    }


def _pictures(settings: GraphSettings) -> Parameters:
    """Parameters of the nodes that listen to a camera."""
    return {
        "image_transport": settings.image_transport,
        "image_reliability": settings.image_reliability,
    }


def _cameras(settings: GraphSettings) -> dict[str, str]:
    """The cameras' topics, by their names before remapping."""
    return {
        ROAD_IMAGE_TOPIC: settings.image_topic,
        SIGN_IMAGE_TOPIC: settings.sign_image_topic or settings.image_topic,
    }


def _describe_teacher(settings: GraphSettings, teacher: Teacher) -> list[NodeDescription]:
    """A graph of its own, whose labeller alone sends something to the car.

    With prepared patches it follows a drift as a car without labels does.
    """
    shared, pictures = _shared(settings, teacher.bundle), _pictures(settings)
    cameras = _cameras(settings)
    seen = {
        task: _in_car(settings, NODE_OF_TASK[task], topic, cameras[topic])
        for task, topic in IMAGE_TOPIC_OF_TASK.items()
        if task in teacher.classes
    }
    rate: Parameters = {"max_rate": teacher.rate}
    nodes = [
        NodeDescription(
            NODE_OF_TASK[task],
            NODE_OF_TASK[task],
            {**shared, **pictures, **rate},
            {IMAGE_TOPIC_OF_TASK[task]: topic},
        )
        for task, topic in seen.items()
    ]
    if teacher.is_prepared:
        store = f"{settings.store}/{TEACHER_NAMESPACE}"
        own: Parameters = {"store": store, "labels": "none"}
        nodes.append(NodeDescription("drift_monitor", "drift_monitor", dict(shared)))
        nodes.append(NodeDescription("adapter", "adapter", {**shared, **own}))
    heard = {
        LABEL_TOPIC_OF_TASK[task]: f"{NODE_OF_TASK[task]}/{ANSWER_OF_TASK[task]}" for task in seen
    }
    pictured = {LABELLED_IMAGE_TOPIC_OF_TASK[task]: topic for task, topic in seen.items()}
    sent = {"labelled_frames": _in_car(settings, "adapter", "labelled_frames")}
    tasks: Parameters = {"bundle": settings.bundle, "tasks": ",".join(seen)}
    nodes.append(
        NodeDescription(
            "labeller",
            "labeller",
            {**shared, **pictures, **rate, **tasks},
            {**heard, **pictured, **sent},
        )
    )
    return [replace(node, namespace=TEACHER_NAMESPACE, niceness=TEACHER_NICENESS) for node in nodes]


def _in_car(settings: GraphSettings, owner: str, name: str, topic: str = "") -> str:
    """The full name of what the car's node `owner` calls `name`; `topic` where `remap` is silent.

    The teacher's nodes need it, since a relative name is in their own namespace.
    """
    target = settings.remap.get(name, topic or name).replace("~", owner, 1)
    if target.startswith("/"):
        return target
    return "/".join(["", *filter(None, [settings.namespace.strip("/")]), target])


def is_output(topic: str) -> bool:
    """Whether a full topic name is one that the graph publishes, in whatever namespace."""
    parts = topic.strip("/").split("/")
    return not _OWNERS.isdisjoint(parts[:-1]) or parts[-1] in _OUTPUTS


def parse_remap(rules: Iterable[str]) -> dict[str, str]:
    """`FROM:=TO` as a mapping. Raises ValueError for what is no such rule."""
    found = {}
    for rule in rules:
        match = _REMAP.fullmatch(rule)
        if match is None:
            raise ValueError(f"{rule!r} is no remapping of topics; write FROM:=TO")
        found[match[1]] = match[2]
    return found


def ros_arguments(description: NodeDescription, settings: GraphSettings) -> list[str]:
    """`--ros-args ...` for one process; single parameters win over the parameter file."""
    arguments = ["--ros-args", "--log-level", settings.log_level]
    arguments += ["-r", f"__node:={description.name}"]
    namespace = description.namespace_below(settings.namespace).strip("/")
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace}"]
    for source, target in description.remappings.items():
        if source != target:
            arguments += ["-r", f"{source}:={target}"]
    if settings.params_file:
        arguments += ["--params-file", settings.params_file]
    for name, value in description.parameters.items():
        arguments += ["-p", f"{name}:={_yaml_scalar(value)}"]
    return arguments


def command(
    description: NodeDescription, settings: GraphSettings, prefix: Path | None = None
) -> list[str]:
    """The command line of one process.

    prefix: the folder that the package was installed into, whose lib/patchline_ros holds the
    executables; without it this Python runs the module of the node.
    """
    if prefix is None:
        module = description.module or f"nodes.{description.executable}"
        start = [sys.executable, "-m", f"{PACKAGE}.{module}"]
    else:
        start = [str(prefix / "lib" / PACKAGE / description.executable)]
    nice = ["nice", "-n", str(description.niceness)] if description.niceness else []
    return [*nice, *start, *ros_arguments(description, settings)]


def profile_variables(profile: Path, base: Mapping[str, str]) -> dict[str, str]:
    """What makes Fast DDS read the profile for large pictures; nothing where the user has one.

    Only the name that the installed version reads is set: with both, Fast DDS 3 reads the file
    twice and complains.
    """
    if any(base.get(name) for name in PROFILE_VARIABLES):
        return {}
    prefixes = filter(None, base.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    # Fast DDS 2 was the package fastrtps.
    version_2 = any(Path(prefix, "share", "fastrtps").is_dir() for prefix in prefixes)
    return {PROFILE_VARIABLES[version_2]: str(profile)}


def environment(profile: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (the current environment by default) with the Fast DDS profile."""
    variables = dict(os.environ if base is None else base)
    return {**variables, **profile_variables(profile, variables)}


def _yaml_scalar(value: bool | int | float | str) -> str:
    """The value as rcl's parameter parser reads it back; strings are always quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
