"""The boundaries of the road in a class map: its two edges and the lines painted on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.geometry.camera_model import Floats
from patchline_ros.geometry.mounted_camera import MountedCamera
from patchline_ros.geometry.surface import Surface, road_in_each_row
from patchline_ros.tasks import ClassMap

_LEAST_LINE_PIXELS: Final = 12
"""Of a painted line; what is smaller is noise of the segmentation."""
_GAP: Final = 2.0
"""Metres between neighbours of a polyline, at most."""
_LEAST_LENGTH: Final = 0.5
"""Of a polyline, in metres."""


class Kind(IntEnum):
    """What a boundary is; the numbers are those in the point cloud."""

    LEFT_EDGE = 0
    RIGHT_EDGE = 1
    LINE = 2


@dataclass(frozen=True)
class Boundary:
    """One boundary: points (n, 2) in metres ahead and left, those near the car first."""

    kind: Kind
    points: Floats


def find_boundaries(
    mask: ClassMap, surface: Surface, camera: MountedCamera, reach: float
) -> list[Boundary]:
    """The road's edges and lines on the ground, up to so many metres from the camera.

    A place where something stands before the edge, or where the picture ends, is no edge. A
    boundary that is broken for more than 2 m is several ones.

    Args:
        mask: class ids, of the size of the camera's pictures.
        surface: what they mean.
        camera: that saw it.
        reach: in metres.
    """
    found = []
    for kind, pixels in _boundary_pixels(mask, surface):
        places = camera.to_ground(pixels)
        far = np.linalg.norm(places - camera.pose.translation[:2], axis=1)
        places = places[far <= reach]  # NaN is not
        order = np.argsort(np.linalg.norm(places - camera.pose.translation[:2], axis=1))
        found += [Boundary(kind, piece) for piece in _pieces(places[order])]
    return found


def _boundary_pixels(mask: ClassMap, surface: Surface) -> Iterator[tuple[Kind, Floats]]:
    """Each boundary's pixels (n, 2), at the border between two of them where it is an edge."""
    road = road_in_each_row(mask, surface)
    yield Kind.LEFT_EDGE, _edge(mask, surface, road[:, 0], -1)
    yield Kind.RIGHT_EDGE, _edge(mask, surface, road[:, 1], +1)
    for line in _lines(surface.line[mask]):
        yield Kind.LINE, line


def _edge(mask: ClassMap, surface: Surface, columns: NDArray[np.int64], side: int) -> Floats:
    """Where the road ends on one side (-1 left, +1 right) and other ground begins."""
    rows = np.flatnonzero(columns >= 0)
    inside = columns[rows]
    outside = inside + side
    seen = (outside >= 0) & (outside < mask.shape[1])
    rows, inside, outside = rows[seen], inside[seen], outside[seen]
    edge = surface.drivable[mask[rows, inside]] & surface.other[mask[rows, outside]]
    return np.column_stack([inside[edge] + side / 2, rows[edge]]).astype(np.float64)


def _lines(painted: NDArray[np.bool_]) -> Iterator[Floats]:
    """The middle of each painted line, row by row."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(painted.astype(np.uint8))
    for number in range(1, count):
        left, top, width, height, area = statistics[number]
        if area < _LEAST_LINE_PIXELS:
            continue
        part = labels[top : top + height, left : left + width] == number
        middle = (part @ np.arange(width)) / part.sum(axis=1)
        yield np.column_stack([left + middle, top + np.arange(height)]).astype(np.float64)


def _pieces(places: Floats) -> Iterator[Floats]:
    """A boundary's points cut where it is broken, without what is too short to be one."""
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    for piece in np.split(places, np.flatnonzero(steps > _GAP) + 1):
        if len(piece) > 1 and np.linalg.norm(piece[-1] - piece[0]) >= _LEAST_LENGTH:
            yield piece
