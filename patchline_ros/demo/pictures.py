"""Pictures of the report."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from patchline_ros.tasks import Image

JPEG_QUALITY = 88
RIGHT, WRONG = (0, 158, 115), (213, 94, 0)


def draw_sign(image: Image, right: bool, side: int) -> Image:
    """The sign picture scaled to a square, framed green when the answer is right, else red."""
    drawn = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    cv2.rectangle(drawn, (0, 0), (side - 1, side - 1), RIGHT if right else WRONG, 10)
    return drawn


def to_data_uri(image: Image) -> str:
    """The picture (RGB) as a `data:` address of a JPEG, to stand in a page of its own."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"A picture of shape {image.shape} could not be encoded as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
