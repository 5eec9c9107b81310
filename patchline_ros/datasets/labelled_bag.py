"""rosbag2 recordings of labelled frames, read without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from patchline_ros.datasets.bag import reading, recorded, recorded_hash, type_of
from patchline_ros.datasets.reading import Classes, Job, Samples
from patchline_ros.messages.labelled_frames import frame_key, labelled_sample
from patchline_ros.tasks import IGNORE, Boxes, Sample, Task

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

MESSAGE: Final = "patchline_ros/msg/LabelledFrame"

DEFINITION: Final = """\
std_msgs/Header header
string id
string task
sensor_msgs/Image image
vision_msgs/Classification sign
vision_msgs/Detection2DArray objects
sensor_msgs/Image lanes
uint8[] signature
================================================================================
MSG: vision_msgs/Classification
std_msgs/Header header
ObjectHypothesis[] results
================================================================================
MSG: vision_msgs/Detection2DArray
std_msgs/Header header
Detection2D[] detections
================================================================================
MSG: vision_msgs/Detection2D
std_msgs/Header header
ObjectHypothesisWithPose[] results
BoundingBox2D bbox
string id
================================================================================
MSG: vision_msgs/ObjectHypothesis
string class_id
float64 score
================================================================================
MSG: vision_msgs/ObjectHypothesisWithPose
ObjectHypothesis hypothesis
geometry_msgs/PoseWithCovariance pose
================================================================================
MSG: vision_msgs/BoundingBox2D
vision_msgs/Pose2D center
float64 size_x
float64 size_y
================================================================================
MSG: vision_msgs/Pose2D
vision_msgs/Point2D position
float64 theta
================================================================================
MSG: vision_msgs/Point2D
float64 x
float64 y
"""
"""msg/LabelledFrame.msg and what it is made of, for places where no ROS package is installed."""
_UNSIGNED: Final = DEFINITION.replace("uint8[] signature\n", "", 1)
"""The same before labelled frames could be signed."""


class LabelledBag:
    """The labelled frames of one topic of a bag, by task, in the order of the recording.

    A frame that comes twice counts once, as for the adapter.
    names: by task, the ids of its frames.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Lists the frames of a topic: the named one, or the first that has labelled frames.

        Raises:
            ModuleNotFoundError: the package rosbags is not installed.
            ValueError: the bag can't be read, has no such topic, or was recorded with other fields.
        """
        self._path = path
        with reading(path) as reader:
            topics = {c.topic: c for c in reader.connections if type_of(c) == MESSAGE}
        if not topics:
            raise ValueError(f"the bag {path} has no topic of {MESSAGE}, so it has no labels")
        if topic is not None and topic not in topics:
            raise ValueError(
                f"the bag {path} has no labelled frames on the topic {topic}; it has them on "
                f"{', '.join(topics)}"
            )
        self.topic = topic or next(iter(topics))
        self._types = _types_of(path, topics[self.topic])
        self._places = self._listed()
        self.names = {task: tuple(places) for task, places in sorted(self._places.items())}

    def messages(self) -> Iterator[bytes]:
        """All messages of the topic as they were recorded."""
        with reading(self._path) as reader:
            connections = [c for c in reader.connections if c.topic == self.topic]
            for _, _, raw in recorded(self._path, reader, connections):
                yield raw

    def pictures(self, task: Task, classes: tuple[str, ...] | None) -> BagPictures:
        """The frames of one task.

        Args:
            task: that the bag has frames for.
            classes: names of the ids; None: any id will do, and its name is its number.

        Raises:
            ValueError: the bag has no frame for the task.
        """
        if task not in self.names:
            there = ", ".join(map(str, self.names)) or "nothing at all"
            raise ValueError(
                f"the bag {self._path} has no frame labelled for {task} on {self.topic}, but for "
                f"{there}"
            )
        return BagPictures(self, task, classes)

    def place(self, task: Task, name: str) -> int:
        """Which message of the topic it is, counted from 0."""
        return self._places[task][name]

    def sample(self, raw: bytes, task: Task, classes: tuple[str, ...] | None) -> Sample:
        """Picture and label of a message; ValueError where they can't be read or don't fit."""
        sample = labelled_sample(self._deserialized(raw), task)
        label = sample.label
        if isinstance(label, Boxes):
            ids, label = label.labels, Boxes.truth(label.boxes, label.labels)
        else:
            ids = np.asarray(label)
            ids = ids[ids != IGNORE] if ids.ndim else ids.reshape(1)
        count = 256 if classes is None else len(classes)
        wrong = ids[(ids < 0) | (ids >= count)]
        if wrong.size:
            raise ValueError(f"its label has the class id {wrong[0]}; ids are 0 to {count - 1}")
        return Sample(sample.image, label)

    def _listed(self) -> dict[Task, dict[str, int]]:
        """Which message each frame is, by task; one that can't be read counts for every task."""
        places: dict[Task, dict[str, int]] = {}
        unreadable: list[int] = []
        for place, raw in enumerate(self.messages()):
            try:
                task, name = frame_key(self._deserialized(raw))
            except ValueError:
                unreadable.append(place)
            else:
                places.setdefault(task, {}).setdefault(name, place)
        for names in places.values():
            names.update({f"message {place} on {self.topic}": place for place in unreadable})
        return {
            task: dict(sorted(names.items(), key=lambda item: item[1]))
            for task, names in places.items()
        }

    def _deserialized(self, raw: bytes) -> Any:
        from rosbags.serde import SerdeError

        why: Exception | None = None
        for types in self._types:
            try:
                message = types.deserialize_cdr(raw, MESSAGE)
                frame_key(message)
            except (SerdeError, ValueError) as error:
                why = why or error
            else:
                return message
        raise ValueError(f"it is no labelled frame of a known task: {why}") from why


class BagPictures:
    """The labelled frames of one task in a bag; see reading.Labelled."""

    def __init__(self, bag: LabelledBag, task: Task, classes: tuple[str, ...] | None) -> None:
        self._bag, self._task, self._known = bag, task, classes
        self.classes: Classes = {task: classes or tuple(map(str, range(256)))}
        self.names: Sequence[str] = bag.names[task]

    def jobs(self, indices: Iterable[int]) -> Iterator[Job[Samples]]:
        """Jobs that read the pictures at these places in `names`, in one pass over the bag."""
        wanted = {self._bag.place(self._task, self.names[i]): self.names[i] for i in indices}
        for place, raw in enumerate(self._bag.messages()):
            if place in wanted:
                yield wanted[place], partial(self._read, raw)

    def _read(self, raw: bytes) -> Samples:
        return {self._task: self._bag.sample(raw, self._task, self._known)}


def _types_of(path: Path, connection: Connection) -> list[Typestore]:
    """Message types that know LabelledFrame as it was recorded; where nobody knows, each one."""
    each = [labelled_frame_types(definition) for definition in (DEFINITION, _UNSIGNED)]
    there = recorded_hash(connection)
    known = [types for types in each if there in ("", types.hash_rihs01(MESSAGE))]
    if not known:
        raise ValueError(
            f"the bag {path} was recorded when {MESSAGE} had other fields than it has here; label "
            "the frames again with this version"
        )
    return known


def labelled_frame_types(definition: str = DEFINITION) -> Typestore:
    """Message types that know LabelledFrame."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    types.register(get_types_from_msg(definition, MESSAGE))
    return types
