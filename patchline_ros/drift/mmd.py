"""Squared maximum mean discrepancy with RBF kernels (Gretton et al., JMLR 2012)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.kernels import Bandwidth, Real, checked_samples, product, rbf_within


def mmd2(x: Real, y: Real, bandwidth: Bandwidth, *, biased: bool = False) -> float:
    """MMD^2 between two samples (n, d) and (m, d), to within 1e-5.

    The unbiased form may be below 0 where nothing differs.

    Args:
        x, y: feature vectors, one a row.
        bandwidth: of the RBF kernel; of several, the mean of their kernels is the kernel.
        biased: the plain means of equation 5 there, from 0 to 2. Otherwise the pairs of a row
            with itself are left out (equation 3).

    Raises:
        ValueError: a sample that is empty, has one row or features that are not finite; rows of
            different widths; a bandwidth that is not positive and finite.
    """
    x, y = checked_samples(x, y)
    first = np.arange(len(x) + len(y))[:, None] < len(x)
    return float(mmd2_of_splits(np.concatenate([x, y]), first, bandwidth, biased=biased)[0])


def mmd2_of_splits(
    x: Real, inside: NDArray[np.bool_], bandwidth: Bandwidth, *, biased: bool = False
) -> NDArray[np.float64]:
    """MMD^2 between a part of the rows and the others, for many parts at once.

    The kernel matrix is computed once, tile by tile, and the product of a tile with the parts'
    indicator vectors gives the sums of all of them.

    Args:
        x: (n, d) feature vectors, all finite.
        inside: (n, parts), which rows are in each part; at least two are inside and outside.
        bandwidth, biased: as in mmd2().

    Returns:
        (parts,) MMD^2 values.
    """
    parts = inside.shape[1]
    within, touching, total = np.zeros(parts), np.zeros(parts), 0.0
    # The last column counts every row.
    indicators = np.column_stack([inside, np.ones(len(x), dtype=bool)])
    for rows, columns, kernel in rbf_within(x, bandwidth):
        sums = product(kernel, indicators[columns].astype(kernel.dtype)).astype(np.float64)
        mirrored = rows != columns
        within += (1 + mirrored) * (sums[:, :-1] * inside[rows]).sum(axis=0)
        touching += sums[:, :-1].sum(axis=0) + mirrored * (sums[:, -1] @ inside[rows])
        total += (1 + mirrored) * sums[:, -1].sum()
    n = inside.sum(axis=0)
    m = len(x) - n
    across = touching - within
    outside = total - touching - across
    if biased:
        return within / n**2 + outside / m**2 - 2 * across / (n * m)
    # A row's kernel with itself is 1.
    return (within - n) / (n * (n - 1)) + (outside - m) / (m * (m - 1)) - 2 * across / (n * m)
