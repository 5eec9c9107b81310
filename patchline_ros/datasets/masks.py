"""Folders of pictures with a mask of class ids each."""

from __future__ import annotations

from pathlib import Path

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import (
    LABEL_SUFFIXES,
    check_class_map,
    paired_by_stem,
    read_indexed,
    read_rgb,
)
from patchline_ros.tasks import Sample


class MaskFolder(FileSet[Sample]):
    """A folder `images/*.jpg|png` with `masks/<same stem>.png`, in natural order of the names.

    A mask holds a class id for each pixel, or a colour of a palette whose place is the id; 255 is
    not labelled. Pictures are read when they are asked for.
    Raises ValueError where a folder is missing or the files do not pair.
    """

    def __init__(self, directory: Path, classes: tuple[str, ...]) -> None:
        """Lists and pairs the files by name, without reading them; `classes` names the ids."""
        self._files = paired_by_stem(
            directory / "images", directory / "masks", LABEL_SUFFIXES, "mask"
        )
        self.classes = classes
        self.names: tuple[str, ...] = tuple(self._files)

    def read(self, index: int) -> Sample:
        """Reads one picture; its label is a class map.

        Raises ValueError naming a file that cannot be decoded, a mask of another size than its
        picture, or one with an id that is no class.
        """
        picture, mask = self._files[self.names[index]]
        image = read_rgb(picture)
        ids = read_indexed(mask)
        check_class_map(ids, image, len(self.classes), mask)
        return Sample(image, ids)
