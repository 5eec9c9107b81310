"""How a camera projects: from pixels to directions and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_POLYNOMIAL: Final = ("", "plumb_bob", "rational_polynomial")
_FISHEYE: Final = ("equidistant", "fisheye")
_COEFFICIENTS: Final = (0, 4, 5, 8, 12, 14)
"""Numbers of coefficients that OpenCV's polynomial takes."""
_MOST_ANGLE: Final = math.radians(80)
"""From the optical axis: the polynomials of lenses are fitted to what the camera sees, and beyond
it they may turn back into the picture."""


class CameraModelError(ValueError):
    """A camera that can't be computed with; the message says what is wrong with it."""


@dataclass(frozen=True)
class CameraModel:
    """A pinhole with a lens.

    Attributes:
        width, height: of its pictures, in pixels.
        matrix: (3, 3), focal lengths and principal point in pixels; (0, 0) is the middle of the
            first pixel.
        distortion: coefficients, as OpenCV orders them.
        is_fisheye: whether they are those of OpenCV's fisheye model.
    """

    width: int
    height: int
    matrix: Floats
    distortion: Floats
    is_fisheye: bool = False

    @classmethod
    def of_message(cls, msg: Any) -> CameraModel:
        """The model of a sensor_msgs/CameraInfo.

        Raises:
            CameraModelError: the camera was not calibrated, or its model is none of ROS's.
        """
        matrix = np.array(msg.k, dtype=np.float64).reshape(3, 3)
        distortion = np.array(msg.d, dtype=np.float64)
        if not (np.isfinite(matrix).all() and np.isfinite(distortion).all()):
            raise CameraModelError("camera_info holds numbers that are not finite")
        if msg.width <= 0 or msg.height <= 0:
            raise CameraModelError(f"camera_info is of pictures of {msg.width} x {msg.height}")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise CameraModelError(
                "camera_info has no focal length: calibrate the camera, or state field_of_view"
            )
        is_fisheye = msg.distortion_model in _FISHEYE
        if not is_fisheye and msg.distortion_model not in _POLYNOMIAL:
            known = ", ".join(filter(None, (*_POLYNOMIAL, *_FISHEYE)))
            raise CameraModelError(
                f"camera_info has the distortion model {msg.distortion_model!r}; known are {known}"
            )
        if len(distortion) not in ((0, 4) if is_fisheye else _COEFFICIENTS):
            raise CameraModelError(
                f"camera_info has {len(distortion)} coefficients for the distortion model "
                f"{msg.distortion_model!r}"
            )
        if is_fisheye and len(distortion) == 0:
            distortion = np.zeros(4)
        return cls(int(msg.width), int(msg.height), matrix, distortion, is_fisheye)

    @classmethod
    def of_field_of_view(cls, width: int, height: int, degrees: float) -> CameraModel:
        """A pinhole without distortion that sees so many degrees from left to right."""
        focal = width / 2 / math.tan(math.radians(degrees) / 2)
        matrix = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
        return cls(width, height, np.array(matrix, dtype=np.float64), np.zeros(0))

    def directions(self, pixels: Floats) -> Floats:
        """Pixels (n, 2) to directions (n, 3) in the optical frame, of length 1 ahead."""
        if len(pixels) == 0:
            return np.zeros((0, 3))
        points = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if self.is_fisheye else cv2.undistortPoints
        flat = undistort(points, self.matrix, self.distortion).reshape(-1, 2)
        return np.column_stack([flat, np.ones(len(flat))])

    def pixels(self, points: Floats) -> Floats:
        """Points (n, 3) of the optical frame to pixels (n, 2); NaN where the camera can't see.

        It sees what is ahead and in its picture.
        """
        angle = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
        ahead = angle < _MOST_ANGLE
        pixels = np.full((len(points), 2), np.nan)
        if ahead.any():
            still = np.zeros(3)
            visible = np.ascontiguousarray(points[ahead], dtype=np.float64).reshape(-1, 1, 3)
            if self.is_fisheye:
                found, _ = cv2.fisheye.projectPoints(
                    visible, still, still, self.matrix, self.distortion
                )
            else:
                found, _ = cv2.projectPoints(visible, still, still, self.matrix, self.distortion)
            pixels[ahead] = found.reshape(-1, 2)
        rounded = np.floor(pixels + 0.5)
        with np.errstate(invalid="ignore"):
            inside = (rounded >= 0).all(axis=1) & (rounded < (self.width, self.height)).all(axis=1)
        pixels[~inside] = np.nan
        return pixels
