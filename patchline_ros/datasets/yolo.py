"""Folders of pictures with boxes in YOLO's text format."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.tasks import Boxes, Image, Task

_MOST_SHARE = 1.01
"""Of a picture's side. Numbers are rounded by those who write them."""


class YoloFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `labels/<same stem>.txt`.

    A label file has a line for each object: the class id, then centre x, centre y, width and height
    as shares of the picture's. A picture without one, or with an empty one, shows no object.
    """

    task = Task.DETECTION
    labels, suffixes, what = ("labels",), (".txt",), "label file"
    background = True
    # LabelImg's, CVAT's and Roboflow's names of classes, lists of pictures and remarks.
    notes = (
        "classes",
        "labels",
        "obj",
        "predefined_classes",
        "readme",
        "readme.dataset",
        "readme.roboflow",
        "test",
        "train",
        "val",
        "valid",
    )

    def label(self, path: Path, image: Image) -> Boxes:
        """The boxes over the classes; ValueError names a line that is no label."""
        if not path.exists():
            return Boxes.truth([], [])
        try:
            # Editors of Windows begin a text with a mark.
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"the label file {path} is no text: {error}") from error
        boxes: list[list[float]] = []
        labels: list[int] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                label, box = _read_line(line, image)
            except ValueError as error:
                raise ValueError(f"line {number} of {path} is no box: {error}") from error
            if not 0 <= label < len(self.classes):
                raise ValueError(
                    f"line {number} of {path} holds the class id {label}; "
                    f"the ids are 0 to {len(self.classes) - 1}"
                )
            boxes.append(box)
            labels.append(label)
        return Boxes.truth(boxes, labels)


def _read_line(line: str, image: Image) -> tuple[int, list[float]]:
    """Class id and x1, y1, x2, y2 in pixels; what reaches over the edge is cut off."""
    words = line.split()
    if len(words) != 5:
        outline = "; an outline is not read, export boxes" if len(words) > 6 else ""
        raise ValueError(f"it has {len(words)} numbers instead of 5{outline}")
    # Some tools write all numbers as fractions.
    label = float(words[0])
    if not label.is_integer():
        raise ValueError(f"its class id {words[0]} is no whole number")
    numbers = [float(word) for word in words[1:]]
    centre_x, centre_y, width, height = numbers
    if not (width > 0 and height > 0 and all(map(math.isfinite, numbers))):
        raise ValueError(f"{' '.join(words[1:])} is no area inside the picture")
    wrong = [word for word, number in zip(words[1:], numbers, strict=True) if _is_no_share(number)]
    if wrong:
        raise ValueError(
            f"{wrong[0]} is no share of the picture, from 0 to 1; divide what is in pixels by the "
            "picture's width or height"
        )
    corners = np.array(
        [
            centre_x - width / 2,
            centre_y - height / 2,
            centre_x + width / 2,
            centre_y + height / 2,
        ]
    ).clip(0.0, 1.0)
    rows, columns = image.shape[:2]
    return int(label), (corners * [columns, rows, columns, rows]).tolist()


def _is_no_share(number: float) -> bool:
    return not 1 - _MOST_SHARE <= number <= _MOST_SHARE
