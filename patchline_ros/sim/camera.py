"""The road's course, the pinhole camera on it, and the ground seen through that camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

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
        self._town_phase = float(phase[5])

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

    def town(self, s: float) -> float:
        """How built-up the roadside is at s, in [0.1, 0.95]."""
        return float(0.52 + 0.43 * np.sin(s / 130.0 + self._town_phase))


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
        at = np.array(self.s)
        pose = (self.road.bend(at), self.road.bend(at, 1), self.road.rise(at), self.road.rise(at, 1))
        object.__setattr__(self, "_pose", tuple(float(value) for value in pose))

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

    def project(self, s: Floats, lateral: Floats, up: Floats | float = 0.0) -> Floats:
        """Road coordinates to pixels (..., 2)."""
        return self.camera.pixels(self.points(s, lateral, up))


@dataclass(frozen=True)
class Ground:
    """What the visible ground is, row by row of the picture, from `top` (the horizon) down.

    depth: (rows,) metres. centre: (rows,) column of the road's centre line. scale: (rows,) pixels
    a metre. limit: function values (z, v) of the lowest row still free at a distance: whatever
    stands at z is hidden by a crest below that row.
    """

    top: int
    depth: Floats
    centre: Floats
    scale: Floats
    crest_depth: Floats
    crest_row: Floats

    def hidden_below(self, depth: float) -> int:
        """The first row in which a crest in front hides what stands at this distance."""
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
    top = int(np.clip(np.ceil(row[-1]), 0, camera.height))
    rows = np.arange(top, camera.height) + 0.5
    inverse = np.interp(rows, seen_row, seen_inverse)
    # Rows below the first sample (right under the bonnet) go on linearly.
    below = rows > seen_row[-1]
    inverse[below] = (rows[below] - camera.centre_v) / (camera.focal * EYE_HEIGHT)
    row_depth = 1.0 / inverse
    centre = view.project(view.s + row_depth, np.zeros_like(row_depth))[:, 0]
    return Ground(top, row_depth, centre, camera.focal / row_depth, depth, row)
