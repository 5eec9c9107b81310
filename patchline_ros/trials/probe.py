"""The node in the trial's own process: camera and teacher of the graph, and its listener."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.graph.description import NODE_OF_TASK, ROAD_IMAGE_TOPIC, SIGN_IMAGE_TOPIC
from patchline_ros.msg import AdaptationStatus, DriftStatus, LabelledFrame, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import (
    labelled_frame_to_msg,
    ns_to_stamp,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.tasks import Sample, Task
from patchline_ros.trials.expected_answers import RESULTS, without_header
from patchline_ros.trials.own_node import OwnNode
from patchline_ros.trials.trial_pictures import TrialPictures

RATE_HZ: Final = 4.0
_TOPICS = {ROAD_IMAGE_TOPIC: Task.SEGMENTATION, SIGN_IMAGE_TOPIC: Task.CLASSIFICATION}
"""The topics of the camera, and a task whose pictures they carry."""


class Manner(Enum):
    """How the camera sends its pictures."""

    STEADY = "one after the other"
    DROPPED = "three of four are missing"
    REORDERED = "each four in reverse"
    TWICE = "each one twice"
    SILENT = "none"


@dataclass(frozen=True)
class Answer:
    """A result. `place` is that of its fixed picture, None for another one, -1 for none sent."""

    task: Task
    stamp_ns: int
    place: int | None
    data: bytes


NOT_SENT: Final = -1


class Probe(OwnNode):
    """Publishes, and keeps what it hears. Its methods may be called meanwhile."""

    def __init__(self, domain: int, rendered: TrialPictures) -> None:
        """Joins the domain; nothing is published before `start`."""
        super().__init__(domain)
        self._rendered = rendered
        self._lock = threading.Lock()
        self._sent: dict[int, int | None] = {}
        self._answers: deque[Answer] = deque()
        self._number = 0
        self._waiting: list[tuple[int, int]] = []
        self.manner = Manner.STEADY
        self.patch_statuses: list[PatchStatus] = []
        self.adaptation: list[AdaptationStatus] = []
        self.drift: DriftStatus | None = None
        self._cameras = {
            topic: self.node.create_publisher(Image, topic, qos.images()) for topic in _TOPICS
        }
        self._pictures = {
            topic: [rgb_to_image(image, Header()) for image in rendered.fixed[task]]
            for topic, task in _TOPICS.items()
        }
        self._labels = self.node.create_publisher(
            LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES
        )
        self._listen()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.node.create_timer(1 / RATE_HZ, self._publish, clock=steady)

    def _listen(self) -> None:
        for task, (kind, topic) in RESULTS.items():
            name = NODE_OF_TASK[task]
            self.hear(kind, f"{name}/{topic}", partial(self._on_result, task), qos.RESULTS)
            self.hear(PatchStatus, f"{name}/patch_status", self.patch_statuses.append, qos.LATCHED)
        self.hear(AdaptationStatus, "adaptation_status", self.adaptation.append, qos.LATCHED)
        self.hear(DriftStatus, "drift_status", self._on_drift, qos.RESULTS)

    def _on_result(self, task: Task, msg: Any) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        data = without_header(msg)
        with self._lock:
            place = self._sent.get(stamp_ns, NOT_SENT)
            self._answers.append(Answer(task, stamp_ns, place, data))

    def _on_drift(self, msg: DriftStatus) -> None:
        self.drift = msg

    def take_answers(self) -> list[Answer]:
        """Results since the last call."""
        with self._lock:
            answers = list(self._answers)
            self._answers.clear()
        return answers

    def _publish(self) -> None:
        """Publishes what is due at a tick of the camera."""
        self._number += 1
        shot = (time.time_ns(), self._number % len(next(iter(self._pictures.values()))))
        if self.manner is Manner.SILENT or (self.manner is Manner.DROPPED and self._number % 4):
            return
        if self.manner is Manner.REORDERED:
            self._waiting.append(shot)
            if len(self._waiting) < 4:
                return
            shots, self._waiting = self._waiting[::-1], []
        else:
            shots = [shot, shot] if self.manner is Manner.TWICE else [shot]
        for stamp_ns, place in shots:
            with self._lock:
                self._sent[stamp_ns] = place
            for topic, publisher in self._cameras.items():
                msg = self._pictures[topic][place]
                msg.header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="camera_link")
                publisher.publish(msg)

    def show(self, change: Callable[[Image], None]) -> None:
        """Sends on both topics a picture that `change` has spoiled or replaced."""
        for topic, publisher in self._cameras.items():
            msg = rgb_to_image(self._rendered.fixed[_TOPICS[topic]][0], Header())
            msg.header.stamp = ns_to_stamp(time.time_ns())
            change(msg)
            with self._lock:
                self._sent[stamp_to_ns(msg.header.stamp)] = None
            publisher.publish(msg)

    def teach(
        self,
        frame_id: str,
        task: Task,
        sample: Sample,
        stamp_ns: int,
        change: Callable[[LabelledFrame], None] | None = None,
    ) -> None:
        """Sends a labelled frame, which `change` may spoil."""
        msg = labelled_frame_to_msg(frame_id, task, sample, Header(stamp=ns_to_stamp(stamp_ns)))
        if change is not None:
            change(msg)
        self._labels.publish(msg)
