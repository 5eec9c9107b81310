"""Folders of pictures with a mask of class ids each."""

from __future__ import annotations

from pathlib import Path

from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.datasets.picture_files import (
    LABEL_SUFFIXES,
    check_class_map,
    read_indexed,
)
from patchline_ros.tasks import ClassMap, Image, Task


class MaskFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `masks/<same stem>.png`.

    A mask holds a class id for each pixel, or a colour of a palette whose place is the id; 255 is
    not labelled.
    """

    task = Task.SEGMENTATION
    labels, suffixes, what = "masks", LABEL_SUFFIXES, "mask"

    def label(self, path: Path, image: Image) -> ClassMap:
        """The class map; ValueError for another size than the picture's or an unknown id."""
        ids = read_indexed(path)
        check_class_map(ids, image, len(self.classes), path)
        return ids
