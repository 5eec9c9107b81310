"""How alike two models' answers to one picture are; no label is needed.

SciPy is imported where boxes are matched: most nodes and the worker start sooner without it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torchvision.ops import box_iou

from patchline_ros.tasks import Boxes, Label

LEAST_SCORE: Final = 0.3
"""Boxes below are no answer."""
LEAST_IOU: Final = 0.5


def agreement(one: Label, other: Label) -> float:
    """0 (nothing alike) to 1 (the same), symmetric.

    Classification: whether the classes are equal. Segmentation: share of the pixels whose classes
    are. Detection: the F1 of one set of boxes against the other, pairs having the same class and an
    IoU of 0.5 or more; 1 where neither has a box.

    Args:
        one, other: answers of the same task to the same picture.
    """
    if isinstance(one, Boxes) and isinstance(other, Boxes):
        return _of_boxes(one, other)
    return float(np.mean(np.asarray(one) == np.asarray(other)))


def _of_boxes(one: Boxes, other: Boxes) -> float:
    from scipy.optimize import linear_sum_assignment

    rows, columns = one.scores >= LEAST_SCORE, other.scores >= LEAST_SCORE
    boxes = int(rows.sum() + columns.sum())
    if not boxes:
        return 1.0
    overlap = box_iou(torch.from_numpy(one.boxes[rows]), torch.from_numpy(other.boxes[columns]))
    same = one.labels[rows][:, None] == other.labels[columns][None, :]
    pairs = (overlap.numpy() >= LEAST_IOU) & same
    matched = pairs[linear_sum_assignment(pairs, maximize=True)].sum()
    return float(2 * matched / boxes)
