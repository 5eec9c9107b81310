"""Draws the sign tiles of the demo's report."""

from __future__ import annotations

import cv2
import numpy as np

from patchline_ros.tasks import Image

RIGHT, WRONG = (0, 158, 115), (213, 94, 0)


def draw_sign_tile(image: Image, right: bool, side: int) -> Image:
    """The sign picture scaled to a square, framed green when the answer is right, else red."""
    drawn = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    cv2.rectangle(drawn, (0, 0), (side - 1, side - 1), RIGHT if right else WRONG, 10)
    return drawn
