"""RBF kernels, and means of several, between feature vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Features: TypeAlias = NDArray[np.float32]
"""(n, d): one feature vector a row, in the order of time where there is one."""

Bandwidth: TypeAlias = float | Sequence[float]
"""Bandwidth of one RBF kernel, or of several whose mean is taken."""

Real: TypeAlias = NDArray[np.floating[Any]]

TILE = 512
"""Rows and columns of a kernel matrix that are computed at once."""

MEDIAN_ROWS = 2048

LARGEST_FEATURE = 1e12
"""Amount of a raw feature: what is beyond overflows when it is whitened and squared."""

_KERNEL_ERROR = 1e-5


def is_usable(features: Features) -> bool:
    """Whether raw features (d,) of a frame are numbers that can be compared with others."""
    return bool((np.abs(features) <= LARGEST_FEATURE).all())


def checked_sample(sample: Real, name: str) -> Real:
    """The sample, if a kernel mean can be estimated from it.

    Raises:
        ValueError: not (n, d), fewer than two rows, or features that are not finite.
    """
    if sample.ndim != 2 or sample.shape[1] == 0:
        raise ValueError(f"{name} has shape {sample.shape}; it must be (rows, features)")
    if len(sample) < 2:
        raise ValueError(f"{name} has {len(sample)} feature vectors; at least 2 are needed")
    bad = np.flatnonzero(~np.isfinite(sample).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{name} has features that are not finite in {bad.size} of {len(sample)} rows, first "
            f"in row {bad[0]}; leave such rows out"
        )
    return sample


def checked_samples(x: Real, y: Real) -> tuple[Real, Real]:
    """Two samples that can be compared.

    Raises:
        ValueError: as checked_sample(), or rows of different widths.
    """
    x, y = checked_sample(x, "the first sample"), checked_sample(y, "the second sample")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"the samples have {x.shape[1]} and {y.shape[1]} features a row; both must come from "
            "the same layer"
        )
    return x, y


def checked_bandwidths(bandwidth: Bandwidth) -> tuple[float, ...]:
    """The bandwidths as plain numbers.

    Raises:
        ValueError: none, or one that is not positive and finite.
    """
    bandwidths = tuple(float(width) for width in np.atleast_1d(bandwidth))
    if not bandwidths or not all(0 < width < np.inf for width in bandwidths):
        raise ValueError(f"the bandwidth is {bandwidth}; it must be positive and finite")
    return bandwidths


def median_bandwidth(x: Real) -> float:
    """Median heuristic: the median distance between two different rows of x (n, d).

    The bandwidths of a multi-kernel are usually multiples of it, from a quarter to four times.
    For two samples it is taken over the rows of both. Of more than MEDIAN_ROWS rows, that many
    are used, evenly spaced.

    Raises:
        ValueError: as checked_sample(), or half of the pairs or more are equal rows.
    """
    checked_sample(x, "the sample")
    if len(x) > MEDIAN_ROWS:
        x = x[np.linspace(0, len(x) - 1, MEDIAN_ROWS).astype(int)]
    rows, half_norms = _centred(x, x.mean(axis=0, dtype=np.float64))
    halves = half_norms[:, None] + half_norms - product(rows, rows.T)
    pairs = 2 * halves[np.triu_indices(len(x), k=1)]
    if pairs.max() <= 0:
        raise ValueError("all feature vectors are equal; a bandwidth can't be chosen")
    median = float(np.median(pairs))
    # What rounding leaves of the distance between equal rows is far below this.
    if median <= 1e-12 * pairs.max():
        raise ValueError(
            "half of the pairs of feature vectors or more are equal, so that their median distance "
            "is 0; choose a bandwidth yourself"
        )
    return float(np.sqrt(median))


def rbf(x: Real, y: Real, bandwidth: Bandwidth) -> Real:
    """(n, m) kernel between the rows of x (n, d) and y (m, d), to within 1e-5.

    The mean over the bandwidths of exp(-|x - y|^2 / (2 bandwidth^2)).

    Raises:
        ValueError: a bandwidth that is not positive and finite.
    """
    bandwidths = checked_bandwidths(bandwidth)
    centre = y.mean(axis=0, dtype=np.float64)
    (a, half_a), (b, half_b) = _centred(x, centre), _centred(y, centre)
    precision = _precision(max(half_a.max(), half_b.max()), bandwidths)
    return _kernel(
        a.astype(precision),
        half_a.astype(precision),
        b.astype(precision),
        half_b.astype(precision),
        bandwidths,
    )


def rbf_within(x: Real, bandwidth: Bandwidth) -> Iterator[tuple[slice, slice, Real]]:
    """The kernel of the rows of x (n, d) with each other, as rbf(), one tile at a time.

    The matrix is symmetric, so only tiles on and above its diagonal come, which is exactly 1.
    Memory does not grow with its size.

    Yields:
        Which rows, which columns (the same ones for a tile on the diagonal), and the tile.

    Raises:
        ValueError: a bandwidth that is not positive and finite.
    """
    bandwidths = checked_bandwidths(bandwidth)
    centred, half_norms = _centred(x, x.mean(axis=0, dtype=np.float64))
    precision = _precision(half_norms.max(), bandwidths)
    centred, half_norms = centred.astype(precision), half_norms.astype(precision)
    tiles = [slice(start, min(start + TILE, len(x))) for start in range(0, len(x), TILE)]
    for rows, columns in combinations_with_replacement(tiles, 2):
        kernel = _kernel(
            centred[rows], half_norms[rows], centred[columns], half_norms[columns], bandwidths
        )
        if rows == columns:
            np.fill_diagonal(kernel, 1)
        yield rows, columns, kernel


def mean_of_pairs(kernel: Real) -> float:
    """Mean kernel of two different rows, from the kernel (n, n) of n rows with each other."""
    n = len(kernel)
    total = kernel.sum(dtype=np.float64) - np.trace(kernel, dtype=np.float64)
    return float(total) / (n * (n - 1))


def product(a: Real, b: Real) -> Real:
    """a @ b, with the BLAS of torch: NumPy 1's is several times slower on recent processors."""
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _centred(x: Real, centre: NDArray[np.float64]) -> tuple[Real, Real]:
    """Rows less the centre, and half of their squared norms, in float64.

    Distances come from |a|^2 + |b|^2 - 2ab. The nearer the rows are to 0, the less cancels.
    """
    rows = x - centre
    return rows, np.einsum("ij,ij->i", rows, rows) / 2


def _precision(largest_half_norm: float, bandwidths: tuple[float, ...]) -> type[np.floating[Any]]:
    """float32 where it gives the kernel to within 1e-5, else float64.

    The error of a squared distance is a few roundings of the largest squared norm; the narrowest
    kernel makes most of it.
    """
    error = 8 * np.finfo(np.float32).eps * largest_half_norm / min(bandwidths) ** 2
    return np.float32 if error <= _KERNEL_ERROR else np.float64


def _kernel(a: Real, half_a: Real, b: Real, half_b: Real, bandwidths: tuple[float, ...]) -> Real:
    """Kernel from centred rows and half of their squared norms."""
    exponent = product(a, b.T)
    exponent -= half_a[:, None]
    exponent -= half_b
    np.minimum(exponent, 0, out=exponent)
    kernel = np.exp(exponent / bandwidths[0] ** 2)
    for width in bandwidths[1:]:
        kernel += np.exp(exponent / width**2)
    kernel /= len(bandwidths)
    return kernel
