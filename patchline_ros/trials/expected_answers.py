"""The answers that models which may run give to the fixed pictures, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2D, Detection2DArray, ObjectHypothesis

from patchline_ros.adaptation.patch_set_files import signature_file, stored_patch_sets
from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.nodes.conversions import boxes_to_msg, classification_to_msg, mask_to_image
from patchline_ros.patching.patch_set import PatchSetError
from patchline_ros.runtime.backend_pass import AS_IN_A_NODE
from patchline_ros.runtime.model_runner import ModelRunner, Perception
from patchline_ros.tasks import Boxes, ClassMap, Task
from patchline_ros.tasks import Image as Picture

RESULTS: Final[dict[Task, tuple[type, str]]] = {
    Task.CLASSIFICATION: (Classification, "classification"),
    Task.DETECTION: (Detection2DArray, "detections"),
    Task.SEGMENTATION: (Image, "mask"),
}
"""Type of each task's results, and their topic below the node's name."""


def without_header(msg: Classification | Detection2DArray | Image) -> bytes:
    """All that a result says but for its header, byte for byte.

    Serialised messages can't be compared: the padding between their fields is not cleared.
    """
    if isinstance(msg, Classification):
        return b"".join(_hypothesis(result) for result in msg.results)
    if isinstance(msg, Detection2DArray):
        return b"".join(_detection(detection) for detection in msg.detections)
    about = f"{msg.height} {msg.width} {msg.step} {msg.encoding} {msg.is_bigendian} "
    return about.encode() + msg.data.tobytes()


def _hypothesis(result: ObjectHypothesis) -> bytes:
    return result.class_id.encode() + struct.pack("<d", result.score)


def _detection(detection: Detection2D) -> bytes:
    box = detection.bbox
    numbers = (box.center.position.x, box.center.position.y, box.size_x, box.size_y)
    classes = [_hypothesis(result.hypothesis) for result in detection.results]
    return struct.pack("<4d", *numbers) + b"".join(classes)


def answer_bytes(task: Task, perception: Perception) -> bytes:
    """What `without_header` makes of the message that a perception node would send."""
    prediction = perception.prediction
    if task is Task.CLASSIFICATION:
        return without_header(
            classification_to_msg(cast(int, prediction), perception.confidence, Header())
        )
    if task is Task.DETECTION:
        return without_header(boxes_to_msg(cast(Boxes, prediction), Header()))
    return without_header(mask_to_image(cast(ClassMap, prediction), Header()))


class ExpectedAnswers:
    """Knows the source models and every patch set that lies, or lay, accepted in the store."""

    def __init__(
        self, bundle: Bundle, pictures: Mapping[Task, Sequence[Picture]], episodes: Path
    ) -> None:
        """Computes the source models' answers.

        Args:
            bundle: the source models.
            pictures: the fixed ones of each task.
            episodes: the adapter's folder of accepted patch sets.
        """
        self._bundle, self._pictures, self._episodes = bundle, pictures, episodes
        self._known = {task: {0: self._compute(task, None)} for task in bundle.manifest.models}
        self._empty: dict[Task, set[int]] = {task: set() for task in self._known}

    def _compute(self, task: Task, data: bytes | None) -> list[bytes]:
        runner = ModelRunner(self._bundle, task, AS_IN_A_NODE)
        if data is not None:
            runner.activate(runner.build(data, sha256(data)))
        return [answer_bytes(task, runner.infer(image)) for image in self._pictures[task]]

    def learn(self) -> None:
        """Takes in what was accepted since the last call.

        A damaged file is none of it, nor is one that the adapter's gate did not sign.
        """
        for task, stored in stored_patch_sets(self._episodes).items():
            for version in stored.keys() - self._known[task].keys() - self._empty[task]:
                if not signature_file(stored[version]).is_file():
                    continue
                data = stored[version].read_bytes()
                if not data:
                    self._empty[task].add(version)
                    continue
                with suppress(PatchSetError):
                    self._known[task][version] = self._compute(task, data)

    def newest(self, task: Task) -> int:
        """The version that is to run: the newest accepted one, or 0 for the source model."""
        newest = max(self._known[task].keys() | self._empty[task])
        return 0 if newest in self._empty[task] else newest

    def of(self, task: Task, version: int) -> list[bytes]:
        """The answers of one version to all pictures."""
        return self._known[task][version]

    def versions(self, task: Task, place: int, answer: bytes) -> set[int]:
        """Versions that give this answer to the picture at `place`; none if it is wrong."""
        found = self._matching(task, place, answer)
        if not found:
            self.learn()
            found = self._matching(task, place, answer)
        return found

    def _matching(self, task: Task, place: int, answer: bytes) -> set[int]:
        return {
            version for version, answers in self._known[task].items() if answers[place] == answer
        }
