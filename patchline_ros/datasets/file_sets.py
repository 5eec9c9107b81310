"""The bases of data sets in files: their names are listed at once, and each is read when asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar, overload

from patchline_ros.datasets.layouts import paired_folders
from patchline_ros.datasets.picture_files import paired_by_stem, read_rgb
from patchline_ros.tasks import Image, Label, Sample, Task

Item = TypeVar("Item")


class FileSet(Sequence[Item]):
    """A sequence of named items; its subclasses list the `names` and read one item."""

    names: tuple[str, ...]

    @abstractmethod
    def read(self, index: int) -> Item:
        """Reads one item, 0 <= index < len; ValueError names a file that cannot be read."""

    def __len__(self) -> int:
        """Number of items."""
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """Reads one item, or those of a slice; ValueError names a file that cannot be read."""
        positions = range(len(self))[index]
        if isinstance(positions, range):
            return [self.read(position) for position in positions]
        return self.read(positions)


class PairedFolder(FileSet[Sample]):
    """A folder `images/*.jpg|png` with a label file of the same stem for each, in natural order.

    The other layouts that tools make are in layouts.paired_folders.

    Attributes:
        task: that the labels are for.
        labels: names that the folder of the label files has, in any case.
        suffixes: endings of the label files.
        what: a label file is called in messages.
        background: a picture without a label file shows nothing of the classes.
        notes: stems (in lower case) of files that tools put among the label files.
        classes: names of the ids.
    """

    task: ClassVar[Task]
    labels: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    background: ClassVar[bool] = False
    notes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, directory: Path, classes: tuple[str, ...]) -> None:
        """Lists and pairs the files by name, without reading them.

        Raises:
            ValueError: a folder is missing, or the files do not pair.
        """
        self._files = paired_by_stem(
            *paired_folders(directory, self.labels, self.suffixes),
            self.suffixes,
            self.what,
            background=self.background,
            notes=self.notes,
        )
        self.classes = classes
        self.names = tuple(self._files)

    @abstractmethod
    def label(self, path: Path, image: Image) -> Label:
        """Reads the label file of a picture. Raises ValueError that names a file that is wrong."""

    def read(self, index: int) -> Sample:
        """Reads one picture and its label; ValueError names a file that is wrong."""
        picture, label = self._files[self.names[index]]
        image = read_rgb(picture)
        return Sample(image, self.label(label, image))
