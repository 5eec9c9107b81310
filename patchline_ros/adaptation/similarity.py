"""How alike two models' feature maps of one group are over the same pictures: four measures.

Each gives 1 for equal maps and a number in 0..1 for all others. The three that look at a map as at
a picture average over the pictures; CKA looks at all pictures at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import imagehash
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch import Tensor
from torch.nn import functional

Descriptions: TypeAlias = NDArray[Any]
"""(pictures, values): one row describes one picture's feature map."""

HISTOGRAM_BINS = 16
CKA_GRID = 4
CKA_PICTURES = 4
"""The debiased estimate divides by n - 3."""


class Measure(NamedTuple):
    """What is kept of a feature map (C, H, W), and how two models' rows of that are compared."""

    describe: Callable[[Tensor], NDArray[Any]]
    compare: Callable[[Descriptions, Descriptions], float]


def _stretched(maps: Tensor) -> Tensor:
    """The values stretched to 0..255, as bytes."""
    low, high = maps.min(), maps.max()
    return ((maps - low) / (high - low).clamp(min=1e-12) * 255).to(torch.uint8)


def _as_picture(tap: Tensor) -> PilImage.Image:
    """A feature map (C, H, W) as a grey picture: the mean over the channels."""
    return PilImage.fromarray(_stretched(tap.mean(dim=0)).numpy())


def _perceptual_hash(tap: Tensor) -> NDArray[np.bool_]:
    return np.asarray(imagehash.phash(_as_picture(tap)).hash.ravel())


def _mean_hash(tap: Tensor) -> NDArray[np.bool_]:
    return np.asarray(imagehash.average_hash(_as_picture(tap)).hash.ravel())


def _equal_bits(a: Descriptions, b: Descriptions) -> float:
    """1 - Hamming distance / bits, averaged over the pictures."""
    return float((a == b).mean())


def _histogram(tap: Tensor) -> NDArray[np.float64]:
    """Three histograms, one after the other, each as shares of the map's places.

    The channels are split into three contiguous thirds and each is averaged. The three-channel
    picture that this gives is stretched as one, so that what differs between its channels stays.
    """
    if len(tap) < 3:
        raise ValueError(f"a three-channel histogram needs 3 channels; a group has {len(tap)}")
    picture = _stretched(torch.stack([third.mean(dim=0) for third in tap.tensor_split(3)]))
    bins = (picture.flatten(1) // (256 // HISTOGRAM_BINS)).numpy()
    counts = [np.bincount(channel, minlength=HISTOGRAM_BINS) for channel in bins]
    return np.concatenate(counts) / bins.shape[1]


def _intersection(a: Descriptions, b: Descriptions) -> float:
    """Shared part of the histograms, averaged over channels and pictures."""
    return min(1.0, float(np.minimum(a, b).sum(axis=1).mean() / 3))


def _on_grid(tap: Tensor) -> NDArray[np.float64]:
    """A feature map averaged to a small grid: its values in CKA's sense."""
    grid: Tensor = functional.adaptive_avg_pool2d(tap, CKA_GRID)
    return np.asarray(grid.flatten().double().numpy())


def _hsic(k: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Unbiased HSIC of two Gram matrices (n, n) whose diagonals are 0, times n (n - 3)."""
    n = len(k)
    product = (k * other).sum()
    totals = k.sum() * other.sum() / ((n - 1) * (n - 2))
    return float(product + totals - 2 / (n - 2) * k.sum(axis=0) @ other.sum(axis=1))


def linear_cka(x: Descriptions, y: Descriptions) -> float:
    """Debiased linear CKA of two models' features (n, d) and (n, e) of the same n pictures.

    The plain estimate tends to 1 for any two models when there are more features than pictures,
    as here; this one tends to 0 for unrelated ones. Below 0 it is cut off. Features that do not
    vary are like others that do not, and unlike all that do.

    Source: Kornblith et al., ICML 2019, section 3; debiased by the estimator of Song et al.,
    JMLR 2012, equation 5.

    Raises:
        ValueError: fewer than four pictures.
    """
    if len(x) < CKA_PICTURES:
        raise ValueError(f"CKA needs at least {CKA_PICTURES} pictures; {len(x)} came")
    centred = [features - features.mean(axis=0) for features in (x, y)]
    varying = [
        bool(np.square(c).sum() > 1e-20 * np.square(raw).sum())
        for c, raw in zip(centred, (x, y), strict=True)
    ]
    if not all(varying):
        return float(varying[0] == varying[1])
    grams = [c @ c.T for c in centred]
    for gram in grams:
        np.fill_diagonal(gram, 0.0)
    k, other = grams
    ratio = _hsic(k, other) / np.sqrt(_hsic(k, k) * _hsic(other, other))
    return float(np.clip(ratio, 0.0, 1.0))


MEASURES: dict[str, Measure] = {
    "perceptual_hash": Measure(_perceptual_hash, _equal_bits),
    "mean_hash": Measure(_mean_hash, _equal_bits),
    "histogram": Measure(_histogram, _intersection),
    "cka": Measure(_on_grid, linear_cka),
}
"""The paper's own (section 4.4) first, then those that it compares it with, and CKA."""
