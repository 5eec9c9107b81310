"""Whether a label fits its picture and a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patchline_ros.tasks import IGNORE, Boxes, Sample, Task


class LabelError(ValueError):
    """A label can't belong to its picture, or names a class that the model does not have."""


def check_label(task: Task, classes: Sequence[str], sample: Sample) -> None:
    """Checks a label against its picture and the model's classes.

    Args:
        task: whose label it is.
        classes: the model's class names; ids are their places.
        sample: picture and label; class maps may also hold IGNORE.

    Raises:
        LabelError: with one sentence that says what does not fit.
    """
    label = sample.label
    if isinstance(label, Boxes):
        ids = label.labels
        if not np.isfinite(label.boxes).all():
            raise LabelError("a box of the label has a coordinate that is not a finite number")
        if (label.boxes[:, 2:] <= label.boxes[:, :2]).any():
            raise LabelError("a box of the label has no width or no height")
    elif isinstance(label, np.ndarray):
        size = sample.image.shape[:2]
        if label.shape != size:
            raise LabelError(f"the class map has the shape {label.shape}, its picture has {size}")
        ids = np.unique(label[label != IGNORE]).astype(np.int64)
    else:
        ids = np.array([label])
    kinds = {
        Task.CLASSIFICATION: int | np.integer,
        Task.DETECTION: Boxes,
        Task.SEGMENTATION: np.ndarray,
    }
    if not isinstance(label, kinds[task]):
        raise LabelError(f"a label of the type {type(label).__name__} is not one for {task}")
    wrong = ids[(ids < 0) | (ids >= len(classes))]
    if wrong.size:
        raise LabelError(
            f"class id {wrong[0]} is not one of the model's {len(classes)} classes "
            f"(0 {classes[0]} to {len(classes) - 1} {classes[-1]})"
        )
