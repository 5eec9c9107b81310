"""Pictures that stand in a page of its own."""

from __future__ import annotations

import base64

import cv2

from patchline_ros.tasks import Image

JPEG_QUALITY = 88


def to_data_uri(image: Image) -> str:
    """The picture (RGB) as a `data:` address of a JPEG, to stand in a page of its own."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"A picture of shape {image.shape} could not be encoded as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
