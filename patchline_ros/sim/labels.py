"""The classes of the simulated road, and the labels read off a painted canvas."""

from __future__ import annotations

import numpy as np

from patchline_ros.sim.painter import Canvas
from patchline_ros.tasks import Boxes, ClassMap

LANE_CLASSES = (
    "sky",
    "building",
    "vegetation",
    "road",
    "lane_marking",
    "pavement",
    "vehicle",
    "person",
)
SKY, BUILDING, VEGETATION, ROAD, LANE_MARKING, PAVEMENT, VEHICLE, PERSON = range(8)

OBJECT_CLASSES = ("car", "truck", "person")

SIGN_CLASSES = (
    "stop",
    "yield",
    "speed_30",
    "speed_50",
    "no_entry",
    "crossing",
    "turn_left",
    "turn_right",
)

MIN_VISIBLE = 0.35
"""Objects of which less than this share can be seen are not labelled."""

MIN_HEIGHT = 8 / 360
"""Objects lower than this share of the picture's height are not labelled."""


def class_map(canvas: Canvas) -> ClassMap:
    """The class of every pixel, uint8 (H, W), IGNORE on poles and signs."""
    classes = np.array(canvas.classes, np.uint8)[canvas.ids]
    ground = canvas.ids < canvas.first_object
    np.copyto(classes, canvas.ground_classes, where=ground)
    return classes


def visible_boxes(canvas: Canvas) -> Boxes:
    """Tight boxes around the visible pixels of vehicles and people."""
    height, width = canvas.ids.shape
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for target in canvas.targets:
        left, top, right, bottom = target.extent
        x1, y1 = max(int(left) - 1, 0), max(int(top) - 1, 0)
        x2, y2 = min(int(right) + 2, width), min(int(bottom) + 2, height)
        if x2 <= x1 or y2 <= y1 or target.painted == 0:
            continue
        seen = canvas.ids[y1:y2, x1:x2] == target.identity
        # Half a picture beyond the edges counts: what passes the camera has no finite extent.
        wide = min(right, 1.5 * width) - max(left, -0.5 * width) + 3
        high = min(bottom, 1.5 * height) - max(top, -0.5 * height) + 3
        inside = (x2 - x1) * (y2 - y1) / (wide * high)
        if np.count_nonzero(seen) / target.painted * inside < MIN_VISIBLE:
            continue
        columns = np.flatnonzero(seen.any(axis=0))
        rows = np.flatnonzero(seen.any(axis=1))
        box = (x1 + columns[0], y1 + rows[0], x1 + columns[-1] + 1, y1 + rows[-1] + 1)
        if box[3] - box[1] < MIN_HEIGHT * height:
            continue
        boxes.append(box)
        labels.append(target.label)
    return Boxes.truth(boxes, labels)
