"""The canvas: colour, emitted light and, pixel by pixel, which thing was painted last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

SHIFT = 4
"""Polygon corners are given to OpenCV in 1/16 px."""

Colour: TypeAlias = tuple[float, float, float]
Picture: TypeAlias = NDArray[np.uint8]
Corners: TypeAlias = NDArray[np.float64] | list[tuple[float, float]]


@dataclass
class Target:
    """An object to be labelled: its canvas id, class, full extent and pixels when painted."""

    identity: int
    label: int
    extent: tuple[float, float, float, float]
    painted: int = 0


@dataclass(frozen=True)
class Glow:
    """A lamp in the picture: centre and radius in pixels, colour, distance in metres."""

    u: float
    v: float
    radius: float
    colour: Colour
    depth: float
    street: bool = False


class Canvas:
    """Painted from far to near; the fourth colour channel is how much a pixel shines by itself.

    colour: uint8 (H, W, 4). ids: uint16 (H, W), an index into `classes` and `depths`. Ids below
    `first_object` are sky (0) and ground rows (row + 1), whose classes are in `ground_classes`.
    """

    def __init__(self, height: int, width: int) -> None:
        self.colour = np.zeros((height, width, 4), np.uint8)
        self.ids = np.zeros((height, width), np.uint16)
        self.ground_classes = np.zeros((height, width), np.uint8)
        self.first_object = height + 1
        self.classes: list[int] = [0] * self.first_object
        self.depths: list[float] = [1e6] * self.first_object
        self.targets: list[Target] = []
        self.glows: list[Glow] = []
        self._rows = height

    def limit(self, rows: int) -> None:
        """Paint only above this row from now on (a crest hides the rest)."""
        self._rows = min(max(rows, 0), self.colour.shape[0])

    def new_thing(self, class_id: int, depth: float) -> int:
        """Registers a thing and returns its id."""
        self.classes.append(class_id)
        self.depths.append(depth)
        return len(self.classes) - 1

    def polygon(
        self, points: Corners, colour: Colour, identity: int = 0, shine: float = 0.0
    ) -> None:
        """Fills an anti-aliased polygon (n, 2); with an identity also marks whose it is."""
        if self._rows == 0:
            return
        corners = fixed(points)
        cv2.fillPoly(
            self.colour[: self._rows], [corners], (*colour, shine), cv2.LINE_AA, shift=SHIFT
        )
        if identity:
            cv2.fillPoly(self.ids[: self._rows], [corners], identity, cv2.LINE_8, shift=SHIFT)

    def mark(self, points: Corners, identity: int) -> None:
        """Marks a polygon (n, 2) as belonging to a thing without painting it."""
        if self._rows:
            corners = fixed(points)
            cv2.fillPoly(self.ids[: self._rows], [corners], identity, cv2.LINE_8, shift=SHIFT)

    def _window(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int] | None:
        left, top = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
        right = min(int(np.ceil(box[2])), self.colour.shape[1])
        bottom = min(int(np.ceil(box[3])), self._rows)
        return (left, top, right, bottom) if right > left and bottom > top else None

    def sprite(
        self,
        levels: list[Picture],
        box: tuple[float, float, float, float],
        identity: int,
        gain: float = 1.0,
    ) -> None:
        """Stretches a premultiplied RGBA picture (given as a pyramid) over box and blends it in."""
        window = self._window(box)
        if window is None or box[2] - box[0] < 0.5:
            return
        left, top, right, bottom = window
        level = _level_for(levels, box[2] - box[0])
        scale_x = level.shape[1] / (box[2] - box[0])
        scale_y = level.shape[0] / (box[3] - box[1])
        matrix = np.array(
            [
                [scale_x, 0, (left + 0.5 - box[0]) * scale_x - 0.5],
                [0, scale_y, (top + 0.5 - box[1]) * scale_y - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(level, matrix, (right - left, bottom - top), flags=flags)
        self._blend(picture, window, identity, gain)

    def warped(
        self, picture: Picture, quad: NDArray[np.float64], identity: int, gain: float, shine: float
    ) -> None:
        """Warps a premultiplied RGBA picture onto a quad (corners clockwise from top left)."""
        low, high = quad.min(axis=0) - 1, quad.max(axis=0) + 1
        window = self._window((low[0], low[1], high[0], high[1]))
        if window is None:
            return
        matrix = _onto(picture, quad - np.array(window[:2]))
        size = (window[2] - window[0], window[3] - window[1])
        self._blend(cv2.warpPerspective(picture, matrix, size), window, identity, gain, shine)

    def _blend(
        self,
        picture: Picture,
        window: tuple[int, int, int, int],
        identity: int,
        gain: float,
        shine: float = 0.0,
    ) -> None:
        left, top, right, bottom = window
        under = self.colour[top:bottom, left:right]
        alpha = picture[:, :, 3].copy()
        cover = cv2.merge([255 - alpha] * 4)
        picture = cv2.convertScaleAbs(picture, alpha=gain)
        picture[:, :, 3] = cv2.multiply(alpha, shine / 255) if shine else 0
        under[:] = cv2.add(cv2.multiply(under, cover, scale=1 / 255), picture)
        self.ids[top:bottom, left:right][alpha > 127] = identity

    def facade(self, levels: list[Picture], quad: NDArray[np.float64], gain: float) -> None:
        """Warps an opaque RGB + shine picture onto a quad; the ids are marked by the caller."""
        low, high = quad.min(axis=0), quad.max(axis=0)
        window = self._window((low[0], low[1], high[0], high[1]))
        if window is None:
            return
        left, top, right, bottom = window
        # The taller edge says how much detail is needed; far walls take a coarser picture.
        level = _level_for(levels, max(quad[3, 1] - quad[0, 1], quad[2, 1] - quad[1, 1]), axis=0)
        matrix = _onto(level, quad - np.array([left, top]))
        under = np.ascontiguousarray(self.colour[top:bottom, left:right])
        if gain != 1.0:
            level = cv2.convertScaleAbs(level, alpha=gain)
        cv2.warpPerspective(
            level,
            matrix,
            (right - left, bottom - top),
            dst=under,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        self.colour[top:bottom, left:right] = under

    def add_target(
        self, identity: int, label: int, extent: tuple[float, float, float, float]
    ) -> None:
        """Counts what was just painted for a thing, so that occlusion can be measured later."""
        target = Target(identity, label, extent)
        left, top = max(int(extent[0]) - 1, 0), max(int(extent[1]) - 1, 0)
        patch = self.ids[top : max(int(extent[3]) + 2, 0), left : max(int(extent[2]) + 2, 0)]
        target.painted = int(np.count_nonzero(patch == identity))
        self.targets.append(target)


def fixed(points: Corners) -> NDArray[np.int32]:
    """Pixels (n, 2) to the 1/16 px that OpenCV takes."""
    return np.rint(np.array(points) * (1 << SHIFT)).astype(np.int32)


def pyramid(picture: Picture, levels: int = 6) -> list[Picture]:
    """The picture and its halvings, finest first."""
    out = [picture]
    while len(out) < levels and min(out[-1].shape[:2]) >= 8:
        height, width = out[-1].shape[:2]
        out.append(cv2.resize(out[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return out


def _level_for(levels: list[Picture], length: float, axis: int = 1) -> Picture:
    """The coarsest level that still has at least 0.8 picture pixels for a canvas pixel."""
    for level in reversed(levels):
        if level.shape[axis] >= 0.8 * length:
            return level
    return levels[0]


def _onto(picture: Picture, quad: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = picture.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return cv2.getPerspectiveTransform(source, quad.astype(np.float32))
