"""Random streams and noise pictures that are the same on every machine for the same key."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

GRAIN_SLACK = 64


def stream(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone (non-negative integers)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(key))))


def tiling(
    rng: np.random.Generator, height: int, width: int, cell: int, octaves: int = 4
) -> NDArray[np.float32]:
    """Fractal noise in [0, 1] that wraps at all edges; `cell` is its coarsest wavelength in px."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, columns = max(1, height // cell), max(1, width // cell)
        grid = np.pad(rng.random((rows, columns)).astype(np.float32), 2, mode="wrap")
        step_y, step_x = height / rows, width / columns
        # A warp instead of a resize: it puts grid points exactly on the period, so edges meet.
        matrix = np.array([[1 / step_x, 0, 2.0], [0, 1 / step_y, 2.0]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        total += weight * cv2.warpAffine(grid, matrix, (width, height), flags=flags)
        weight *= 0.55
        cell = max(1, cell // 2)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


@lru_cache(maxsize=8)
def _grain(height: int, width: int) -> NDArray[np.float32]:
    rng = stream(7, height, width)
    shape = (height + GRAIN_SLACK, width + GRAIN_SLACK, 3)
    # A sum of uniforms is close to normal and, unlike the normal sampler, needs no libm.
    tile = sum(rng.random(shape, dtype=np.float32) for _ in range(4)) - np.float32(2.0)
    return np.asarray(tile * np.float32(1.732), np.float32)


def grain(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Sensor noise of unit variance, (height, width, 3): a random window of a fixed tile."""
    tile = _grain(height, width)
    top, left = (int(value) for value in rng.integers(0, GRAIN_SLACK, 2))
    return tile[top : top + height, left : left + width]
