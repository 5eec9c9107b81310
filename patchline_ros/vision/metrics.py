"""How well a task is done: accuracy, mAP at IoU 0.5, mean IoU; all in 0..1, by torchmetrics.

It is imported where it is called: the adapter, which only starts trainings, is up sooner without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from patchline_ros.tasks import IGNORE, Boxes, ClassMap, Label, Task


def accuracy(predicted: Sequence[int], truth: Sequence[int]) -> float:
    """Share of pictures whose class is right."""
    return float(np.mean(np.asarray(predicted) == np.asarray(truth)))


def mean_average_precision(predicted: Sequence[Boxes], truth: Sequence[Boxes]) -> float:
    """COCO's average precision at IoU 0.5, mean over the classes that occur; 0 when none does."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(iou_thresholds=[0.5])
    metric.warn_on_many_detections = False
    metric.update(
        [
            {
                "boxes": torch.from_numpy(p.boxes),
                "scores": torch.from_numpy(p.scores),
                "labels": torch.from_numpy(p.labels),
            }
            for p in predicted
        ],
        [{"boxes": torch.from_numpy(t.boxes), "labels": torch.from_numpy(t.labels)} for t in truth],
    )
    return max(0.0, float(metric.compute()["map_50"]))


def mean_iou(predicted: Sequence[ClassMap], truth: Sequence[ClassMap], classes: int) -> float:
    """Intersection over union over all pixels of all pictures, mean over the classes that occur.

    Raises:
        ValueError: a class id that is not below `classes`, where the label is not ignored.
    """
    from torchmetrics.functional.classification import multiclass_jaccard_index

    pixels = np.concatenate([p.ravel() for p in predicted])
    labels = np.concatenate([t.ravel() for t in truth])
    known = labels != IGNORE
    pixels, labels = pixels[known].astype(np.int64), labels[known].astype(np.int64)
    highest = max(pixels.max(initial=0), labels.max(initial=0))
    if highest >= classes:
        raise ValueError(f"class id {highest} in a class map of {classes} classes")
    scores = multiclass_jaccard_index(
        torch.from_numpy(pixels),
        torch.from_numpy(labels),
        num_classes=classes,
        average="none",
        # Its own check sorts all pixels, which takes longer than all the rest.
        validate_args=False,
    )
    present = np.flatnonzero(np.bincount(labels))
    return float(scores[torch.from_numpy(present)].mean()) if len(present) else 0.0


def score(task: Task, classes: int, predicted: Sequence[Label], truth: Sequence[Label]) -> float:
    """The task's own metric."""
    if task is Task.CLASSIFICATION:
        return accuracy(cast("Sequence[int]", predicted), cast("Sequence[int]", truth))
    if task is Task.DETECTION:
        return mean_average_precision(
            cast("Sequence[Boxes]", predicted), cast("Sequence[Boxes]", truth)
        )
    return mean_iou(
        cast("Sequence[ClassMap]", predicted), cast("Sequence[ClassMap]", truth), classes
    )
