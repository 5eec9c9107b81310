"""The road's course, the pinhole camera on it, and the ground seen through that camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim.noise import stream

EYE_HEIGHT = 1.35
"""Camera height above the road in metres."""

FAR = 170.0
"""Nothing is drawn beyond this distance in metres."""

NEAR = 0.4

Floats: TypeAlias = NDArray[np.float64]


class Road:
    """The course of a road: sideways bend, rise and town density over the distance driven."""

    def __init__(self, seed: int) -> None:
        rng = stream(seed, 1)
        phase = rng.random(6) * 6.283
        size = 0.6 + 0.8 * rng.random(6)
        # Amplitude, wavelength / 2 pi and phase, all gentle: bends of 170 m radius or more.
        self._bends = (
            np.array([4.5, 13.0, 30.0]) * size[:3],
            np.array([47.0, 89.0, 173.0]),
            phase[:3],
        )
        self._rises = (np.array([0.7, 2.4]) * size[3:5], np.array([61.0, 113.0]), phase[3:5])
        self._terms = [
            [tuple(float(value) for value in term) for term in zip(*terms, strict=True)]
            for terms in (self._bends, self._rises)
        ]
        self._town_phase = float(phase[5])
        self.course = lru_cache(maxsize=2048)(self._course)

    @staticmethod
    def _wave(terms: tuple[Floats, Floats, Floats], s: Floats, order: int) -> Floats:
        size, length, phase = terms
        angle = s[..., None] / length + phase
        return ((np.sin(angle) if order == 0 else np.cos(angle) / length) * size).sum(-1)

    def bend(self, s: Floats, order: int = 0) -> Floats:
        """Sideways position of the centre line in metres at s, or (order 1) its slope."""
        return self._wave(self._bends, s, order)

    def rise(self, s: Floats, order: int = 0) -> Floats:
        """Height of the road in metres at s, or (order 1) its slope."""
        return self._wave(self._rises, s, order)

    def _course(self, s: float) -> tuple[float, float, float, float]:
        """Bend, its slope, rise and its slope at one place."""
        out = []
        for terms in self._terms:
            value = slope = 0.0
            for size, length, phase in terms:
                angle = s / length + phase
                value += size * math.sin(angle)
                slope += size * math.cos(angle) / length
            out += [value, slope]
        return out[0], out[1], out[2], out[3]

    def town(self, s: float) -> float:
        """How built-up the roadside is at s, in [0.1, 0.95]."""
        return float(0.52 + 0.43 * np.sin(s / 130.0 + self._town_phase))


class Spot(NamedTuple):
    """A place on the road in camera coordinates (metres) and how the road runs on from there."""

    right: float
    down: float
    ahead: float
    turn: float
    drop: float


@dataclass(frozen=True)
class Camera:
    """A pinhole: picture size, focal length and principal point, all in pixels."""

    height: int
    width: int
    focal: float
    centre_u: float
    centre_v: float

    def pixels(self, points: Floats) -> Floats:
        """(..., 3) camera points (right, down, ahead in metres) to (..., 2) pixels u, v."""
        depth = np.maximum(points[..., 2], NEAR)
        return np.stack(
            [
                self.centre_u + self.focal * points[..., 0] / depth,
                self.centre_v + self.focal * points[..., 1] / depth,
            ],
            axis=-1,
        )

    def pixel(self, right: float, down: float, ahead: float) -> tuple[float, float]:
        """One camera point to pixels u, v."""
        scale = self.focal / max(ahead, NEAR)
        return self.centre_u + right * scale, self.centre_v + down * scale


@dataclass(frozen=True)
class View:
    """A camera standing on the road at distance s, `lateral` metres right of the centre line."""

    camera: Camera
    road: Road
    s: float
    lateral: float
    _pose: tuple[float, float, float, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Take the road's position and slopes under the camera once."""
        object.__setattr__(self, "_pose", self.road.course(self.s))

    @property
    def heading(self) -> float:
        """Tangent of the driving direction against the road's mean direction."""
        return self._pose[1]

    def points(self, s: Floats, lateral: Floats, up: Floats | float = 0.0) -> Floats:
        """Road coordinates (metres along, right of centre, above ground) to camera points (..., 3).

        Turning is approximated by a shear, which is exact to first order in the road's slope.
        """
        bend, turn, rise, pitch = self._pose
        ahead = s - self.s
        right = self.road.bend(s) + lateral - bend - self.lateral - turn * ahead
        down = EYE_HEIGHT - (self.road.rise(s) + up - rise - pitch * ahead)
        return np.stack(np.broadcast_arrays(right, down, ahead), axis=-1)

    def spot(self, s: float, lateral: float) -> Spot:
        """What `points` says about one place on the ground, with the road's slopes there."""
        bend, turn, rise, pitch = self._pose
        bend_there, turn_there, rise_there, pitch_there = self.road.course(s)
        ahead = s - self.s
        return Spot(
            bend_there + lateral - bend - self.lateral - turn * ahead,
            EYE_HEIGHT - (rise_there - rise - pitch * ahead),
            ahead,
            turn_there - turn,
            pitch - pitch_there,
        )

    def sees(self, s: float, lateral: float, size: tuple[float, float, float]) -> bool:
        """Whether a block of this length, half width and height can show in the picture."""
        length, half, height = size
        left, right, top = math.inf, -math.inf, math.inf
        for end in (s, s + length) if length else (s,):
            spot = self.spot(max(end, self.s + 0.6), lateral)
            low, row = self.camera.pixel(spot.right - half, spot.down - height, spot.ahead)
            high, _ = self.camera.pixel(spot.right + half, 0.0, spot.ahead)
            left, right, top = min(left, low), max(right, high), min(top, row)
        return right > 0 and left < self.camera.width and top < self.camera.height

    def project(self, s: Floats, lateral: Floats, up: Floats | float = 0.0) -> Floats:
        """Road coordinates to pixels (..., 2)."""
        return self.camera.pixels(self.points(s, lateral, up))


@dataclass(frozen=True)
class Ground:
    """What the visible ground is, row by row of the picture, from `top` (the horizon) down.

    depth: (rows,) metres. centre: (rows,) column of the road's centre line. scale: (rows,) pixels
    a metre. crest_row at crest_depth: what stands at that distance is hidden below that row by
    the ground in front. reach: metres to the first crest.
    """

    top: int
    depth: Floats
    centre: Floats
    scale: Floats
    crest_depth: Floats
    crest_row: Floats
    reach: float

    def hidden_below(self, depth: float) -> int:
        """The first row in which a crest in front hides what stands at this distance."""
        if depth < self.reach:
            return self.top + len(self.depth)
        return int(np.ceil(np.interp(depth, self.crest_depth, self.crest_row))) + 1


def ground_rows(view: View) -> Ground:
    """Finds for each picture row the ground point nearest to the camera that it shows."""
    camera = view.camera
    depth = np.geomspace(1.0, FAR, 120)
    points = view.points(view.s + depth, np.zeros_like(depth))
    pixels = camera.pixels(points)
    row = np.minimum.accumulate(pixels[:, 1])
    # Visible samples are those that reach a new highest row; inverse depth is linear in rows.
    fresh = np.concatenate([[True], row[1:] < row[:-1] - 1e-9])
    seen_row, seen_inverse = row[fresh][::-1], 1.0 / depth[fresh][::-1]
    # The lowest row is reached at the crest; from there on the road may dip out of sight.
    reach = float(depth[fresh][-1]) if fresh.all() else float(depth[np.argmin(fresh) - 1])
    top = int(np.clip(np.ceil(row[-1]), 0, camera.height))
    rows = np.arange(top, camera.height) + 0.5
    inverse = np.interp(rows, seen_row, seen_inverse)
    # Rows below the first sample (right under the bonnet) go on linearly.
    below = rows > seen_row[-1]
    inverse[below] = (rows[below] - camera.centre_v) / (camera.focal * EYE_HEIGHT)
    row_depth = 1.0 / inverse
    centre = view.project(view.s + row_depth, np.zeros_like(row_depth))[:, 0]
    return Ground(top, row_depth, centre, camera.focal / row_depth, depth, row, reach)
