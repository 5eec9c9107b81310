"""Folders of pictures with boxes in YOLO's text format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.tasks import Boxes, Image, Task


class YoloFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `labels/<same stem>.txt`.

    A label file has a line for each object: the class id, then centre x, centre y, width and height
    as shares of the picture's; an empty file says that there is none.
    """

    task = Task.DETECTION
    labels, suffixes, what = "labels", (".txt",), "label file"

    def label(self, path: Path, image: Image) -> Boxes:
        """The boxes over the classes; ValueError names a line that is no label."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
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
    """Class id and x1, y1, x2, y2 in pixels; rounding errors beyond the edge are cut off."""
    words = line.split()
    if len(words) != 5:
        raise ValueError(f"it has {len(words)} numbers instead of 5")
    centre_x, centre_y, width, height = (float(word) for word in words[1:])
    corners = np.array(
        [
            centre_x - width / 2,
            centre_y - height / 2,
            centre_x + width / 2,
            centre_y + height / 2,
        ]
    ).clip(0.0, 1.0)
    # Written so that a number that is none fails too.
    if not (corners[2] > corners[0] and corners[3] > corners[1]):
        raise ValueError(f"{' '.join(words[1:])} is no area inside the picture")
    rows, columns = image.shape[:2]
    return int(words[0]), (corners * [columns, rows, columns, rows]).tolist()
