"""Folders of pictures with a mask of class ids each."""

from __future__ import annotations

from pathlib import Path

from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.datasets.picture_files import (
    LABEL_SUFFIXES,
    check_not_black_and_white,
    read_class_map,
)
from patchline_ros.tasks import ClassMap, Image, Task


class MaskFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `masks/<same stem>.png`.

    A mask holds a class id for each pixel, or a colour of a palette whose place is the id; 255 is
    not labelled.
    """

    task = Task.SEGMENTATION
    labels, suffixes, what = ("masks",), LABEL_SUFFIXES, "mask"

    def __init__(self, directory: Path, classes: tuple[str, ...]) -> None:
        """Lists and pairs the files by name, and looks at a few masks.

        Raises:
            ValueError: a folder is missing, files do not pair, or masks are black and white.
        """
        super().__init__(directory, classes)
        if len(classes) > 1:
            check_not_black_and_white([mask for _, mask in self._files.values()])

    def label(self, path: Path, image: Image) -> ClassMap:
        """The class map; ValueError for another size than the picture's or an unknown id."""
        return read_class_map(path, image, len(self.classes))
