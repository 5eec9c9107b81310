"""What is checked before a label file's box, or the size that it states, is believed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchline_ros.tasks import Image


def inside_picture(corners: Sequence[float], image: Image) -> list[float]:
    """A box x1, y1, x2, y2 in pixels, cut off at the picture's edge.

    A label may reach over the edge; one of which less than a third is inside was made for another
    picture, or in another unit.
    Raises ValueError, the end of a sentence, where it does, or has no area in the picture.
    """
    rows, columns = image.shape[:2]
    x1, y1, x2, y2 = corners
    place = f"at {x1:g}, {y1:g}, {x2:g}, {y2:g}"
    cut = [max(x1, 0.0), max(y1, 0.0), min(x2, float(columns)), min(y2, float(rows))]
    finite = all(map(math.isfinite, corners))
    if not (finite and cut[2] > cut[0] and cut[3] > cut[1]):
        raise ValueError(f"{place}, which is no area of the {columns}x{rows} picture")
    if 3 * (cut[2] - cut[0]) * (cut[3] - cut[1]) < (x2 - x1) * (y2 - y1):
        raise ValueError(f"{place}, most of which is outside the {columns}x{rows} picture")
    return cut


def check_stated_size(image: Image, width: float, height: float, what: str) -> None:
    """Compares a picture with the size that its label file states.

    Args:
        image: the picture that is there.
        width, height: as stated; 0 or less: not stated, as some tools write it.
        what: states it, for the message.

    Raises:
        ValueError: they differ, so boxes in pixels would be in wrong places.
    """
    rows, columns = image.shape[:2]
    if width <= 0 or height <= 0 or (width, height) == (columns, rows):
        return
    swapped = (width, height) == (rows, columns)
    raise ValueError(
        f"{what} is for a picture of {width:g}x{height:g}, but the picture is {columns}x{rows}: "
        "put the picture there that was labelled, or label this one"
        + ("; where its EXIF orientation turns it, take that mark out of the file" * swapped)
    )
