"""The fields of label messages as labels, whoever made the message: ROS, or a reader of bags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchline_ros.tasks import Boxes

Regions: TypeAlias = NDArray[np.float32]
"""Boxes of a picture, (n, 4) x1, y1, x2, y2 in pixels."""


_LARGEST_ID: Final = 2**31 - 1


class ConversionError(ValueError):
    """A message does not hold what it says, or holds what nothing here can read."""


def msg_to_class(msg: Any) -> int:
    """The class id of the only result of a vision_msgs/Classification.

    Raises ConversionError unless there is exactly one.
    """
    if len(msg.results) != 1:
        raise ConversionError(
            f"the classification has {len(msg.results)} results; a label needs exactly one"
        )
    return class_id_of(msg.results[0].class_id)


def msg_to_boxes(msg: Any) -> Boxes:
    """The first hypothesis of each detection of a vision_msgs/Detection2DArray.

    Raises ConversionError for a detection without a hypothesis, a class id that is no number, or a
    box of negative or infinite size.
    """
    boxes, labels, scores = [], [], []
    for number, detection in enumerate(msg.detections):
        if not detection.results:
            raise ConversionError(f"detection {number} has no class (its results are empty)")
        boxes.append(corners_of(number, detection))
        labels.append(class_id_of(detection.results[0].hypothesis.class_id))
        scores.append(detection.results[0].hypothesis.score)
    return Boxes(
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.asarray(labels, dtype=np.int64),
        scores=np.asarray(scores, dtype=np.float32),
    )


def msg_to_regions(msg: Any, class_id: str) -> Regions:
    """Where the detections of that class are, as (n, 4) x1, y1, x2, y2 in pixels.

    Args:
        msg: of any detector; classes may be numbers or names, or missing where none is asked for.
        class_id: of the first hypothesis, as it stands there; empty: every detection.

    Raises ConversionError for a box of negative or infinite size.
    """
    corners = [
        corners_of(number, detection)
        for number, detection in enumerate(msg.detections)
        if class_id in ("", *(result.hypothesis.class_id for result in detection.results[:1]))
    ]
    return np.asarray(corners, dtype=np.float32).reshape(-1, 4)


def check_inside(found: Boxes, width: int, height: int) -> None:
    """Raises ConversionError for an empty box and one that leaves the picture by over a pixel."""
    for number, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        if x1 >= x2 or y1 >= y2:
            raise ConversionError(f"box {number} is empty: {x2 - x1} x {y2 - y1} pixels")
        if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
            raise ConversionError(
                f"box {number} ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) leaves its picture of "
                f"{width} x {height} pixels"
            )


def corners_of(number: int, detection: Any) -> tuple[float, float, float, float]:
    """The box of a detection. Raises ConversionError where its size is negative or infinite."""
    center, box = detection.bbox.center.position, detection.bbox
    corners = (
        center.x - box.size_x / 2,
        center.y - box.size_y / 2,
        center.x + box.size_x / 2,
        center.y + box.size_y / 2,
    )
    if not (np.isfinite(corners).all() and box.size_x >= 0 and box.size_y >= 0):
        raise ConversionError(
            f"detection {number} has a box of {box.size_x} x {box.size_y} pixels at "
            f"({center.x}, {center.y}); sizes must be finite and not negative"
        )
    return corners


def class_id_of(text: str, names: Sequence[str] = ()) -> int:
    """The class that a hypothesis names: a number is an id, anything else one of `names`.

    Raises ConversionError for what is neither, and for a number that no array of ids holds.
    """
    try:
        number = int(text)
    except ValueError:
        if text in names:
            return names.index(text)
        must = f"one of the model's ({', '.join(names)})" if names else "the number of a class"
        raise ConversionError(f"the class id is {text!r}; it must be {must}") from None
    if abs(number) > _LARGEST_ID:
        raise ConversionError(f"the class id is {text!r}, which is too large a number")
    return number
