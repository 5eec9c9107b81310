"""The base of data sets in files: their names are listed at once, and each is read when asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

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
