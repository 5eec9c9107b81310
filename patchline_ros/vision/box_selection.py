"""Which of a detector's boxes are published."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import batched_nms

from patchline_ros.tasks import Boxes
from patchline_ros.vision.heads.detection import NMS_THRESHOLD


def chosen(found: Boxes, least_score: float, most_overlap: float) -> Boxes:
    """The boxes of at least that score that overlap no better one of their class by more.

    Args:
        found: what the detector says.
        least_score: 0..1.
        most_overlap: IoU, 0..1; from NMS_THRESHOLD on nothing is left out, since the models leave
            out more.
    """
    kept = np.flatnonzero(found.scores >= least_score)
    boxes = torch.from_numpy(found.boxes[kept])
    scores, labels = torch.from_numpy(found.scores[kept]), torch.from_numpy(found.labels[kept])
    if most_overlap >= NMS_THRESHOLD:
        # The model has done so, in the size of its input: rounded anew, a box could go either way.
        return Boxes(found.boxes[kept], found.labels[kept], found.scores[kept])
    rows = kept[np.sort(batched_nms(boxes, scores, labels, most_overlap).numpy())]
    return Boxes(found.boxes[rows], found.labels[rows], found.scores[rows])
