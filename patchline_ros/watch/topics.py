"""What there is to see of a car: its topics, and what is wrong when nobody publishes them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from patchline_ros.graph.description import ANSWER_OF_TASK, NODE_OF_TASK, GraphSettings
from patchline_ros.package_share import PACKAGE
from patchline_ros.tasks import Task

PREVIEW: Final = "/preview"
"""Suffix of a raw picture's topic: the same picture as a small JPEG, for a slow connection."""

IMAGE: Final = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE: Final = "sensor_msgs/msg/CompressedImage"
DRIFT_STATUS: Final = f"{PACKAGE}/msg/DriftStatus"

_NAME: Final = re.compile(r"/?([A-Za-z_]\w*/)*[A-Za-z_]\w*", re.ASCII)
_ANSWER_TYPES: Final = {
    Task.CLASSIFICATION: "vision_msgs/msg/Classification",
    Task.DETECTION: "vision_msgs/msg/Detection2DArray",
    Task.SEGMENTATION: IMAGE,
}


@dataclass(frozen=True)
class CarTopics:
    """Where a car's topics are; the arguments of car.launch.py that decide it, and full names.

    Raises ValueError for what is no name in ROS.
    """

    namespace: str = GraphSettings.namespace
    image_topic: str = GraphSettings.image_topic
    sign_image_topic: str = GraphSettings.sign_image_topic
    image_transport: str = GraphSettings.image_transport

    def __post_init__(self) -> None:
        """Checks the names."""
        for option, value in (
            ("--namespace", self.namespace.strip("/")),
            ("--image-topic", self.image_topic),
            ("--sign-image-topic", self.sign_image_topic),
        ):
            needed = option == "--image-topic"
            if (value or needed) and not _NAME.fullmatch(value):
                raise ValueError(
                    f"{option} {value!r} is no name in ROS; it is made of letters, digits and _, "
                    "and / between its parts, such as /car1/image_raw"
                )
        if self.image_transport not in ("raw", "compressed"):
            raise ValueError(
                f"--image-transport {self.image_transport!r} is not known; it is raw or compressed"
            )

    def full(self, name: str) -> str:
        """The name as the graph has it: a relative one is below the namespace."""
        below = self.namespace.strip("/")
        return name if name.startswith("/") else f"/{below}/{name}" if below else f"/{name}"

    @property
    def road_camera(self) -> str:
        """What the object detector and the lane segmenter see."""
        return self._camera(self.image_topic)

    @property
    def sign_camera(self) -> str:
        """What the sign classifier sees; the road camera's where there is no other."""
        return self._camera(self.sign_image_topic or self.image_topic)

    def of_task(self, task: Task, topic: str) -> str:
        """A topic below a perception node."""
        return self.full(f"{NODE_OF_TASK[task]}/{topic}")

    def _camera(self, topic: str) -> str:
        return self.full(topic) + ("/compressed" if self.image_transport == "compressed" else "")


@dataclass(frozen=True)
class Watched:
    """One topic to see. `latched`: its last message holds until the next."""

    name: str
    type: str
    latched: bool = False
    preview: bool = False
    """Whether it is also shown as a small JPEG."""

    @property
    def picture(self) -> bool:
        """Large, and drawn only while somebody looks."""
        return self.type in (IMAGE, COMPRESSED_IMAGE)


def watched(car: CarTopics) -> list[Watched]:
    """Every topic that a person wants to see."""
    raw = car.image_transport == "raw"
    cameras = dict.fromkeys([car.road_camera, car.sign_camera])
    kind = IMAGE if raw else COMPRESSED_IMAGE
    topics = [Watched(camera, kind, preview=raw) for camera in cameras]
    for task, answer_type in _ANSWER_TYPES.items():
        topics += [
            Watched(car.of_task(task, "debug/image"), IMAGE, preview=True),
            Watched(car.of_task(task, ANSWER_OF_TASK[task]), answer_type),
            Watched(car.of_task(task, "patch_status"), f"{PACKAGE}/msg/PatchStatus", latched=True),
        ]
    return [
        *topics,
        Watched(car.full("drift_status"), DRIFT_STATUS),
        Watched(car.full("adaptation_status"), f"{PACKAGE}/msg/AdaptationStatus", latched=True),
        Watched("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
    ]


def troubles(
    car: CarTopics, published: Collection[str], cars: Collection[str], domain: int
) -> dict[str, str]:
    """What nobody publishes, in sentences by the topic that each is about.

    Args:
        car: the one that is watched.
        published: names of topics with a publisher.
        cars: namespaces in which there is a drift monitor.
        domain: ROS domain id.
    """
    nodes = {
        **{NODE_OF_TASK[task]: car.of_task(task, "patch_status") for task in NODE_OF_TASK},
        "drift_monitor": car.full("drift_status"),
        "adapter": car.full("adaptation_status"),
    }
    found = {}
    missing = {node: topic for node, topic in nodes.items() if topic not in published}
    if len(missing) == len(nodes):
        place = car.full("").rstrip("/") or "/"
        others = ", ".join(sorted(cars))
        advice = f"there are cars at {others}" if others else "no car is there at all"
        found[place] = (
            f"nothing of the graph is published at {place} in ROS domain {domain}; {advice}: check "
            "--namespace and ROS_DOMAIN_ID, and that the graph runs"
        )
    else:
        for node, topic in missing.items():
            found[topic] = f"{node} does not run: nobody publishes {topic}"
    for camera in dict.fromkeys([car.road_camera, car.sign_camera]):
        if camera not in published:
            found[camera] = (
                f"no camera: nobody publishes {camera}; check the camera, --image-topic, "
                "--sign-image-topic and --image-transport"
            )
    return found
