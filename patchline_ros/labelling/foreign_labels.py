"""Reads what any detector, segmenter or classifier publishes as a label, where it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchline_ros.messages.labels import ConversionError, class_id_of, corners_of
from patchline_ros.messages.pictures import image_to_classmap
from patchline_ros.tasks import Boxes, Label, Task


@dataclass(frozen=True)
class Certainty:
    """Which scores make a label.

    Attributes:
        min_score: from which on a detection or classification is one.
        doubtful_score: from which on, up to `min_score`, a detection may be one or not, so that
            nothing is learnt from its picture. Lower ones are noise.
        label_empty_frames: whether a picture with nothing but noise shows nothing.
    """

    min_score: float
    doubtful_score: float
    label_empty_frames: bool


def read_label(task: Task, msg: Any, classes: Sequence[str], certainty: Certainty) -> Label | None:
    """The label that a message holds for a task.

    Args:
        task: whose label it is; it says which message `msg` is.
        msg: a vision_msgs/Classification, a vision_msgs/Detection2DArray, or a mono8
            sensor_msgs/Image of class ids; ids may be numbers or names.
        classes: the model's class names; ids are their places.
        certainty: which scores make a label.

    Returns:
        The label, None where it is too uncertain. Ids that are numbers are not checked.

    Raises:
        ConversionError: for what cannot be read, a name that is none of `classes`, or a score that
            is not finite.
    """
    if task is Task.CLASSIFICATION:
        return _class(msg, classes, certainty)
    if task is Task.DETECTION:
        return _boxes(msg, classes, certainty)
    return image_to_classmap(msg)


def _class(msg: Any, classes: Sequence[str], certainty: Certainty) -> int | None:
    best = _best("the classification", msg.results)
    return class_id_of(best.class_id, classes) if best.score >= certainty.min_score else None


def _boxes(msg: Any, classes: Sequence[str], certainty: Certainty) -> Boxes | None:
    boxes, labels = [], []
    for number, detection in enumerate(msg.detections):
        best = _best(f"detection {number}", [result.hypothesis for result in detection.results])
        if best.score >= certainty.min_score:
            boxes.append(corners_of(number, detection))
            labels.append(class_id_of(best.class_id, classes))
        elif best.score >= certainty.doubtful_score:
            return None
    if msg.detections and not boxes and not certainty.label_empty_frames:
        return None
    return Boxes.truth(boxes, labels)


def _best(what: str, hypotheses: Sequence[Any]) -> Any:
    """The most probable one. Raises ConversionError for none, and for a score that is no number."""
    if not hypotheses:
        raise ConversionError(f"{what} has no class (its results are empty)")
    if not np.isfinite([hypothesis.score for hypothesis in hypotheses]).all():
        raise ConversionError(f"{what} has a score that is not a finite number")
    return max(hypotheses, key=lambda hypothesis: hypothesis.score)
