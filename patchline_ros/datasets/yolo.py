"""Folders of pictures with boxes in YOLO's text format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import paired_by_stem, read_rgb
from patchline_ros.tasks import Boxes, Image, Sample

LABEL_SUFFIXES = (".txt",)
"""File endings of the label files."""


class YoloFolder(FileSet[Sample]):
    """A folder `images/*.jpg|png` with `labels/<same stem>.txt`, in natural order of the names.

    A label file has a line for each object: the class id, then centre x, centre y, width and height
    as shares of the picture's; an empty file says that there is none. Pictures are read when they
    are asked for.
    Raises ValueError where a folder is missing or the files do not pair.
    """

    def __init__(self, directory: Path, classes: tuple[str, ...]) -> None:
        """List and pair the files by name, without reading them; `classes` names the ids."""
        self._files = paired_by_stem(
            directory / "images", directory / "labels", LABEL_SUFFIXES, "label file"
        )
        self.classes = classes
        self.names: tuple[str, ...] = tuple(self._files)

    def read(self, index: int) -> Sample:
        """Read one picture; its label is Boxes over the classes.

        Raises ValueError naming a picture that cannot be decoded, or a line that is no label.
        """
        picture, label = self._files[self.names[index]]
        image = read_rgb(picture)
        return Sample(image, _read_boxes(label, image, self.classes))


def _read_boxes(path: Path, image: Image, classes: tuple[str, ...]) -> Boxes:
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
        if not 0 <= label < len(classes):
            raise ValueError(
                f"line {number} of {path} holds the class id {label}; "
                f"the ids are 0 to {len(classes) - 1}"
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
