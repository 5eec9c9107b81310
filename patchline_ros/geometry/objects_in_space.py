"""Where the objects of a picture are in space, from a depth picture of the same camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.geometry.camera_model import CameraModel, Floats
from patchline_ros.tasks import Boxes

_LEAST_MEASURED: Final = 0.1
"""Share of the middle of a box in which something was measured."""


@dataclass(frozen=True)
class SpaceBox:
    """A box in the optical frame, in metres: x right, y down, z ahead.

    Attributes:
        centre: (3,).
        size: (3,); the last is how far the measured surface reaches, since nobody sees the back.
    """

    centre: Floats
    size: Floats


def objects_in_space(
    found: Boxes, depth: NDArray[np.float32], camera: CameraModel
) -> list[SpaceBox | None]:
    """A box for each object; None where too little of it was measured.

    An object is as far away as the median in the middle of its box, half as wide and high: what is
    around it in the box is mostly something else.

    Args:
        found: boxes in pixels.
        depth: (H, W) in metres, NaN where nothing was measured, pixel for pixel that of the boxes.
        camera: of both.
    """
    return [_in_space(box, depth, camera) for box in found.boxes.astype(np.float64)]


def _in_space(box: Floats, depth: NDArray[np.float32], camera: CameraModel) -> SpaceBox | None:
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) / 4, (y2 - y1) / 4
    columns = slice(*_within(x1 + width, x2 - width, depth.shape[1]))
    rows = slice(*_within(y1 + height, y2 - height, depth.shape[0]))
    measured = depth[rows, columns]
    measured = measured[np.isfinite(measured)]
    wanted = (columns.stop - columns.start) * (rows.stop - rows.start)
    if wanted <= 0 or len(measured) < max(1, _LEAST_MEASURED * wanted):
        return None
    near, middle, far = np.quantile(measured.astype(np.float64), [0.1, 0.5, 0.9])
    corners = np.array([[x1, y1], [x2, y2]]) - 0.5
    first, last = camera.directions(corners) * middle
    centre = (first + last) / 2
    return SpaceBox(centre, np.array([*(last - first)[:2], far - near]))


def _within(low: float, high: float, edge: int) -> tuple[int, int]:
    """The whole pixels between, one at least where that is in the picture."""
    start = int(np.clip(np.floor(low), 0, edge))
    return start, int(np.clip(max(np.ceil(high), start + 1), 0, edge))
