"""A model's answer drawn on its picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from patchline_ros.palette import PALETTE
from patchline_ros.tasks import Boxes, ClassMap, Image, Label

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_WIDTH: Final = 256
"""Pixels, over which a caption of a class name can be read."""
_CAPTION_HEIGHT: Final = 28
_CAPTIONS: Final = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2)
"""Sizes of its letters, the best first."""


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


def draw_answer(image: Image, answer: Label, names: Sequence[str], confidence: float) -> Image:
    """The picture with a class map, boxes, or the name of its class and how sure it is."""
    if isinstance(answer, Boxes):
        return draw_boxes(image, answer, names)
    if isinstance(answer, np.ndarray):
        return overlay_mask(image, answer)
    return _captioned(image, f"{names[int(answer)]} {confidence:.2f}")


def _captioned(image: Image, words: str) -> Image:
    """The picture with the words below it, where they hide nothing of it.

    A small picture is enlarged, so that they can be read; long words have smaller letters.
    """
    scale = max(1, round(_CAPTION_WIDTH / image.shape[1]))
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    strip = np.zeros((_CAPTION_HEIGHT, large.shape[1], 3), dtype=np.uint8)
    # The width is no multiple of the size, so it is tried.
    fits = (z for z in _CAPTIONS if cv2.getTextSize(words, _FONT, z, 1)[0][0] < strip.shape[1] - 8)
    size, corner = next(fits, _CAPTIONS[-1]), (4, _CAPTION_HEIGHT - 8)
    cv2.putText(strip, words, corner, _FONT, size, PALETTE[3], 1, cv2.LINE_AA)
    return np.vstack([large, strip])


def _write(image: Image, words: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    for thickness, ink in ((3, (0, 0, 0)), (1, colour)):
        cv2.putText(image, words, corner, _FONT, 0.45, ink, thickness, cv2.LINE_AA)
