"""What the classes of a segmentation mean for driving."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from patchline_ros.tasks import IGNORE, ClassMap


@dataclass(frozen=True)
class Surface:
    """Which classes are which; each is a table (256,) of bool by class id.

    Attributes:
        drivable: ground that a car may drive on.
        line: painted lines on it.
        standing: what stands on the ground, and sky: behind it the ground is not seen.
        other: all the rest of the ground.
    """

    drivable: NDArray[np.bool_]
    line: NDArray[np.bool_]
    standing: NDArray[np.bool_]
    other: NDArray[np.bool_]

    @classmethod
    def of_names(
        cls,
        classes: Sequence[str],
        drivable: Collection[str],
        line: Collection[str],
        standing: Collection[str],
    ) -> Surface:
        """By the names of classes.

        Raises:
            ValueError: a name is none of `classes`, or is both drivable and standing, or nothing is
                drivable.
        """
        if not drivable:
            raise ValueError(f"no class is drivable; the classes are {', '.join(classes)}")
        both = sorted(set(drivable) & set(standing))
        if both:
            raise ValueError(f"the class {both[0]} can't be both drivable and standing")
        can_drive, painted, stands = (
            _table(classes, names) for names in (drivable, line, standing)
        )
        ids = np.arange(256)
        other = (ids < len(classes)) & (ids != IGNORE) & ~can_drive & ~stands
        return cls(can_drive, painted, stands, other)


def _table(classes: Sequence[str], names: Collection[str]) -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    for name in names:
        if name not in classes:
            near = get_close_matches(name, classes, n=1)
            meant = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(classes)}"
            raise ValueError(f"the class {name!r} is not in the bundle; {meant}")
        table[classes.index(name)] = True
    return table


def road_in_each_row(mask: ClassMap, surface: Surface) -> NDArray[np.int64]:
    """The road's first and last column, (H, 2) int64, row by row; -1 where there is none.

    It is the stretch with the most drivable pixels that only things on the road interrupt.
    """
    passable = surface.drivable[mask] | surface.standing[mask]
    drivable = surface.drivable[mask]
    found = np.full((len(mask), 2), -1, dtype=np.int64)
    for row in np.flatnonzero(drivable.any(axis=1)):
        steps = np.diff(np.concatenate([[0], passable[row].astype(np.int8), [0]]))
        first, last = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1
        so_far = np.concatenate([[0], np.cumsum(drivable[row])])
        best = np.argmax(so_far[last + 1] - so_far[first])
        found[row] = first[best], last[best]
    return found
