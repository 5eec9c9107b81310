"""The drivable area of a class map as a grid on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.geometry.camera_model import Floats
from patchline_ros.geometry.mounted_camera import MountedCamera
from patchline_ros.geometry.surface import Surface
from patchline_ros.tasks import IGNORE, ClassMap

FREE: Final = 0
OCCUPIED: Final = 100
UNKNOWN: Final = -1


@dataclass(frozen=True)
class GridShape:
    """A grid before the car: `reach` metres ahead, `width` metres from right to left."""

    reach: float
    width: float
    resolution: float

    @property
    def cells(self) -> tuple[int, int]:
        """Numbers of cells from right to left and ahead: rows and columns of the grid."""
        return round(self.width / self.resolution), round(self.reach / self.resolution)

    def centres(self) -> Floats:
        """Middles of the cells, (rows * columns, 2) in metres ahead and left."""
        rows, columns = self.cells
        left = (np.arange(rows) + 0.5) * self.resolution - rows * self.resolution / 2
        ahead = (np.arange(columns) + 0.5) * self.resolution
        return np.stack(np.meshgrid(ahead, left), axis=-1).reshape(-1, 2)

    def cells_of(self, places: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the cells in which places (n, 2) lie, without those outside."""
        rows, columns = self.cells
        places = places[np.isfinite(places).all(axis=1)]
        column = np.floor(places[:, 0] / self.resolution).astype(np.int64)
        row = np.floor(places[:, 1] / self.resolution + rows / 2).astype(np.int64)
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        return row[inside], column[inside]


@dataclass(frozen=True)
class DrivableGrid:
    """Makes grids of the class maps of one camera."""

    camera: MountedCamera
    shape: GridShape
    surface: Surface

    @cached_property
    def _seen(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The cells that the camera sees, and the row and the column of the pixel of each."""
        pixels = self.camera.to_pixels(self.shape.centres())
        cells = np.flatnonzero(np.isfinite(pixels).all(axis=1))
        column, row = np.floor(pixels[cells] + 0.5).astype(np.int64).T
        return cells, row, column

    def of(self, mask: ClassMap) -> NDArray[np.int8]:
        """FREE where it is drivable, OCCUPIED on other ground, UNKNOWN where no ground is seen.

        Of what stands on the ground only the foot is OCCUPIED: the rest of it hides what is behind.

        Args:
            mask: class ids (H, W), of the size of the camera's pictures.

        Returns:
            int8 (rows, columns), the rightmost row and the nearest column first.
        """
        value = np.full(256, UNKNOWN, dtype=np.int8)
        value[self.surface.other] = OCCUPIED
        value[self.surface.drivable] = FREE
        rows, columns = self.shape.cells
        grid = np.full((rows, columns), UNKNOWN, dtype=np.int8)
        cells, row, column = self._seen
        grid.reshape(-1)[cells] = value[mask[row, column]]
        grid[self.shape.cells_of(self.camera.to_ground(self._feet(mask)))] = OCCUPIED
        return grid

    def _feet(self, mask: ClassMap) -> Floats:
        """Pixels (n, 2) of the lower ends of what stands on ground that is seen."""
        standing = self.surface.standing[mask]
        ground = ~standing & (mask != IGNORE)
        row, column = np.nonzero(standing[:-1] & ground[1:])
        return np.column_stack([column, row + 0.5]).astype(np.float64)
