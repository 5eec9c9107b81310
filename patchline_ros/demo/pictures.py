"""Pictures of the drive with the models' answers drawn on them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from patchline_ros.tasks import Boxes, ClassMap, Image

PALETTE = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (160, 160, 160),
)
"""Okabe and Ito's colours, RGB, by class id; more classes than colours start again."""

JPEG_QUALITY = 88
RIGHT, WRONG = (0, 158, 115), (213, 94, 0)


def overlay_mask(image: Image, mask: ClassMap) -> Image:
    """The picture (RGB) tinted by class; a mask of another size is scaled by nearest neighbour."""
    height, width = image.shape[:2]
    sized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    colours = np.array(PALETTE, dtype=np.float32)[sized % len(PALETTE)]
    return (0.5 * image + 0.5 * colours).astype(np.uint8)


def draw_boxes(
    image: Image, boxes: Boxes, names: Sequence[str], minimum_score: float = 0.5
) -> Image:
    """The picture with each box of at least `minimum_score` and its class name."""
    drawn = image.copy()
    for (x1, y1, x2, y2), label, score in zip(
        boxes.boxes.round().astype(int).tolist(), boxes.labels, boxes.scores, strict=True
    ):
        if score < minimum_score:
            continue
        colour = PALETTE[(int(label) + 3) % len(PALETTE)]
        cv2.rectangle(drawn, (x1, y1), (x2, y2), (0, 0, 0), 3, cv2.LINE_AA)
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
        _write(drawn, names[int(label)], (x1, max(y1 - 4, 12)), colour)
    return drawn


def draw_sign(image: Image, right: bool, side: int) -> Image:
    """The sign picture scaled to a square, framed green when the answer is right, else red."""
    drawn = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    cv2.rectangle(drawn, (0, 0), (side - 1, side - 1), RIGHT if right else WRONG, 10)
    return drawn


def _write(image: Image, words: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    for thickness, ink in ((3, (0, 0, 0)), (1, colour)):
        cv2.putText(
            image, words, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, thickness, cv2.LINE_AA
        )


def to_data_uri(image: Image) -> str:
    """The picture (RGB) as a `data:` address of a JPEG, to stand in a page of its own."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"A picture of shape {image.shape} could not be encoded as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
