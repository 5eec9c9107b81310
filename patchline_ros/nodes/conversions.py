"""Results, labels and stamps of the core as ROS messages; what comes in is read by `messages`."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    Classification,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    VisionClass,
)

from patchline_ros.messages.labelled_frames import frame_key, labelled_sample
from patchline_ros.msg import LabelledFrame
from patchline_ros.tasks import Boxes, ClassMap, Sample, Task
from patchline_ros.tasks import Image as Picture

NANOSECONDS = 1_000_000_000


def rgb_to_image(picture: Picture, header: Header) -> Image:
    """An rgb8 message with the given header."""
    return _image(picture, "rgb8", header)


def mask_to_image(mask: ClassMap, header: Header) -> Image:
    """A mono8 message of class ids with the given header."""
    return _image(mask, "mono8", header)


def classification_to_msg(class_id: int, confidence: float, header: Header) -> Classification:
    """One result: the class id in decimal (LabelInfo has its name) and its probability."""
    result = ObjectHypothesis(class_id=str(class_id), score=float(confidence))
    return Classification(header=header, results=[result])


def boxes_to_msg(found: Boxes, header: Header, ids: Sequence[str] = ()) -> Detection2DArray:
    """Boxes in pixels, one hypothesis each; `ids` are those of tracked objects, one for each."""
    detections = []
    for (x1, y1, x2, y2), label, score, track in zip(
        found.boxes.astype(np.float64).tolist(),
        found.labels.tolist(),
        found.scores.astype(np.float64).tolist(),
        ids or [""] * len(found),
        strict=True,
    ):
        detection = Detection2D(header=header, id=track)
        detection.bbox.center.position.x = (x1 + x2) / 2
        detection.bbox.center.position.y = (y1 + y2) / 2
        detection.bbox.size_x = x2 - x1
        detection.bbox.size_y = y2 - y1
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = str(label)
        hypothesis.hypothesis.score = score
        detection.results = [hypothesis]
        detections.append(detection)
    return Detection2DArray(header=header, detections=detections)


def label_info(classes: Sequence[str], header: Header) -> LabelInfo:
    """The names behind the class ids, which count from 0."""
    class_map = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)]
    return LabelInfo(header=header, class_map=class_map)


def labelled_frame_to_msg(
    frame_id: str, task: Task, sample: Sample, header: Header
) -> LabelledFrame:
    """A labelled picture; `frame_id` is its name, `header` carries its stamp."""
    msg = LabelledFrame(header=header, id=frame_id, task=str(task))
    msg.image = rgb_to_image(sample.image, header)
    label = sample.label
    if isinstance(label, Boxes):
        msg.objects = boxes_to_msg(label, header)
    elif isinstance(label, np.ndarray):
        msg.lanes = mask_to_image(label, header)
    else:
        msg.sign = classification_to_msg(label, 1.0, header)
    return msg


def msg_to_labelled_frame(msg: LabelledFrame) -> tuple[str, Task, int, Sample]:
    """Frame id, task, stamp in nanoseconds and the sample.

    Raises ConversionError as frame_key and labelled_sample do.
    """
    task, frame_id = frame_key(msg)
    return frame_id, task, stamp_to_ns(msg.header.stamp), labelled_sample(msg, task)


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds since the epoch of the clock that stamped it."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def ns_to_stamp(nanoseconds: int) -> Time:
    """The same as a message."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def bytes_field(data: bytes) -> array[int]:
    """`data` in the form that every rclpy assigns to a uint8[] field without a loop over it."""
    return array("B", data)


def _image(pixels: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """A message without padding."""
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.size // height,
        data=bytes_field(pixels.tobytes()),
    )
