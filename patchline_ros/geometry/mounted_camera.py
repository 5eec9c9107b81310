"""A camera on a car over level ground: inverse perspective mapping and its opposite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from patchline_ros.geometry.camera_model import CameraModel, Floats

_OPTICAL_IN_CAR: Final = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""From x right, y down, z ahead to x ahead, y left, z up (REP 103)."""


@dataclass(frozen=True)
class Pose:
    """Where a frame is in another one: a point p of it is `rotation @ p + translation` there.

    Attributes:
        rotation: (3, 3).
        translation: (3,) in metres.
    """

    rotation: Floats
    translation: Floats

    @classmethod
    def of_camera(cls, height: float, pitch: float) -> Pose:
        """A camera straight above the origin of the ground, looking ahead.

        Args:
            height: over the ground, in metres.
            pitch: how far it looks down, in degrees.
        """
        down = Rotation.from_euler("y", math.radians(pitch)).as_matrix()
        return cls(down @ _OPTICAL_IN_CAR, np.array([0.0, 0.0, height]))

    def after(self, inner: Pose) -> Pose:
        """Where a frame is that is at `inner` in this one."""
        return Pose(
            self.rotation @ inner.rotation, self.rotation @ inner.translation + self.translation
        )

    def inverse(self) -> Pose:
        """Where the other frame is in this one."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)


@dataclass(frozen=True)
class MountedCamera:
    """A camera and where it is over the ground, z = 0 of a frame that moves with the car.

    Attributes:
        model: how it projects.
        pose: of its optical frame in the ground's frame: x ahead, y left, z up.
    """

    model: CameraModel
    pose: Pose

    def to_ground(self, pixels: Floats) -> Floats:
        """Pixels (n, 2) to metres (n, 2) ahead and left; NaN at the horizon and above it."""
        rays = self.model.directions(pixels) @ self.pose.rotation.T
        down = -rays[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(down > 1e-9, self.pose.translation[2] / down, np.nan)
        return self.pose.translation[:2] + rays[:, :2] * far[:, None]

    def to_pixels(self, places: Floats) -> Floats:
        """Metres (n, 2) ahead and left to pixels (n, 2); NaN where the camera sees none of it."""
        points = np.column_stack([places, np.zeros(len(places))]) - self.pose.translation
        return self.model.pixels(points @ self.pose.rotation)
