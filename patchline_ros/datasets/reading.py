"""Many labelled pictures, read by several threads; what can't be read is named and left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.tasks import Frame, Sample, Task

MOST_BROKEN = 0.5
"""Share of unreadable pictures above which a copy of a set is of no use."""

Item = TypeVar("Item")
Classes: TypeAlias = Mapping[Task, tuple[str, ...]]
Samples: TypeAlias = Mapping[Task, Sample]
"""What one picture, or one moment, is labelled with."""
Job: TypeAlias = tuple[str, Callable[[], Item]]
"""The name of an item, and what reads it: in any thread, and in any order."""


class Labelled(Protocol):
    """Labelled pictures that are listed and not yet read."""

    classes: Classes
    names: Sequence[str]

    def jobs(self, indices: Iterable[int]) -> Iterator[Job[Samples]]:
        """Jobs that read the pictures at these places in `names`, in ascending order."""
        ...


class Pictures:
    """Labelled pictures in files of their own."""

    def __init__(
        self, classes: Classes, names: Sequence[str], read: Callable[[int], Samples]
    ) -> None:
        self.classes, self.names = classes, names
        self._read = read

    @classmethod
    def of_frames(cls, classes: Classes, frames: FileSet[Frame]) -> Pictures:
        """A set whose pictures have labels of several tasks."""
        return cls(classes, frames.names, lambda index: frames.read(index).samples)

    @classmethod
    def of_samples(cls, task: Task, classes: tuple[str, ...], samples: FileSet[Sample]) -> Pictures:
        """A set for one task."""
        return cls({task: classes}, samples.names, lambda index: {task: samples.read(index)})

    def jobs(self, indices: Iterable[int]) -> Iterator[Job[Samples]]:
        """Jobs that read the pictures at these places in `names`."""
        return ((self.names[index], partial(self._read, index)) for index in indices)


@dataclass(frozen=True)
class Readings(Generic[Item]):
    """What could be read, in the order of the jobs, and a sentence on each of the others."""

    names: list[str]
    items: list[Item]
    broken: list[str]

    def check(self, what: str) -> None:
        """Raises ValueError where there is nothing of `what`, or most of it could not be read."""
        total = len(self.items) + len(self.broken)
        if not total:
            raise ValueError(f"there are no pictures in {what}")
        if len(self.broken) > MOST_BROKEN * total:
            raise ValueError(
                f"{len(self.broken)} of {total} pictures of {what} can't be read, so this copy is "
                f"damaged or labelled otherwise; the first: {self.broken[0]}"
            )


def read_all(jobs: Iterable[Job[Item]], workers: int) -> Readings[Item]:
    """Does the jobs in `workers` threads; the result is the same for any number of them.

    A job should make its picture as small as it is needed: then no more than two full-size
    pictures for each thread are in memory.
    Raises what a job raises, except ValueError and OSError: they say that its file is broken.
    """
    found: Readings[Item] = Readings([], [], [])
    waiting: deque[tuple[str, Future[Item]]] = deque()

    def take() -> None:
        name, future = waiting.popleft()
        try:
            item = future.result()
        except (ValueError, OSError) as error:
            found.broken.append(f"{name}: {error}")
        else:
            found.names.append(name)
            found.items.append(item)

    with ThreadPoolExecutor(workers) as pool:
        for name, read in jobs:
            waiting.append((name, pool.submit(read)))
            if len(waiting) == 2 * workers:
                take()
        while waiting:
            take()
    return found
