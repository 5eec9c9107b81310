"""Source pictures in the colours of the road, with the labels that they have."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.tasks import Image, Sample

_LEAST_DEVIATION = 1e-3


def restyled(
    source: Sequence[Sample], road: Sequence[Image], count: int, seed: int
) -> list[Sample]:
    """Source samples whose mean and deviation of each LAB channel are those of a road's picture
    (Reinhard et al., Color Transfer between Images, 2001).

    Args:
        source: labelled samples of the source domain.
        road: pictures of the drift; each source sample takes the colours of one.
        count: of the samples that are drawn, at most.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(source))[:count]
    likes = rng.integers(len(road), size=len(rows))
    return [
        Sample(_coloured_like(source[row].image, road[like]), source[row].label)
        for row, like in zip(rows, likes, strict=True)
    ]


def _coloured_like(image: Image, other: Image) -> Image:
    own, wanted = _lab(image), _lab(other)
    mean, deviation = own.mean(axis=(0, 1)), own.std(axis=(0, 1)) + _LEAST_DEVIATION
    moved = (own - mean) / deviation * wanted.std(axis=(0, 1)) + wanted.mean(axis=(0, 1))
    levels = np.clip(np.rint(moved), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def _lab(image: Image) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
