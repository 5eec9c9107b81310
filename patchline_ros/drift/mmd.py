"""Squared maximum mean discrepancy with an RBF kernel (Gretton et al., JMLR 2012)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


def squared_distances(x: Features, y: Features) -> NDArray[np.float64]:
    """(n, m) squared Euclidean distances between the rows of x (n, d) and y (m, d)."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    distances = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.maximum(distances, 0)


def median_bandwidth(x: Features) -> float:
    """Median heuristic: the median distance between two different rows of x (n, d).

    Raises:
        ValueError: fewer than two rows, or all rows are equal.
    """
    if len(x) < 2:
        raise ValueError(f"a bandwidth needs at least 2 feature vectors, not {len(x)}")
    pairs = squared_distances(x, x)[np.triu_indices(len(x), k=1)]
    bandwidth = float(np.sqrt(np.median(pairs)))
    if bandwidth == 0:
        raise ValueError("all feature vectors are equal; a bandwidth can't be chosen")
    return bandwidth


def rbf(x: Features, y: Features, bandwidth: float) -> NDArray[np.float64]:
    """(n, m) kernel exp(-|x - y|^2 / (2 bandwidth^2))."""
    return np.exp(-squared_distances(x, y) / (2 * bandwidth**2))


def _mean_off_diagonal(kernel: NDArray[np.float64]) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def unbiased_mmd2(
    within_x: NDArray[np.float64], within_y: NDArray[np.float64], across: NDArray[np.float64]
) -> float:
    """Unbiased MMD^2 from the three kernel matrices (n, n), (m, m), (n, m); equation 3 there."""
    return _mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * float(across.mean())


def mmd2(x: Features, y: Features, bandwidth: float) -> float:
    """Unbiased MMD^2 between two samples (n, d) and (m, d)."""
    return unbiased_mmd2(rbf(x, x, bandwidth), rbf(y, y, bandwidth), rbf(x, y, bandwidth))


def block_permutation_null(
    x: Features, bandwidth: float, window: int, permutations: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """MMD^2 of windows of the source itself: what to expect while nothing has drifted.

    Frames of a video are not independent, and a permutation of single frames would give far too
    low a threshold. Here a block of `window` consecutive rows is taken out at a random place
    (round the end, as in the circular block bootstrap) and compared with the rows that remain.

    Args:
        x: (n, d) source features in the order of time.
        bandwidth: of the RBF kernel.
        window: rows of a block; the monitor's window.
        permutations: number of blocks drawn, with replacement.
        rng: where the blocks come from.

    Returns:
        (permutations,) MMD^2 values.

    Raises:
        ValueError: fewer than two windows of source features.
    """
    if len(x) < 2 * window:
        raise ValueError(
            f"a window of {window} frames needs at least {2 * window} source frames to be "
            f"compared with, not {len(x)}"
        )
    kernel = rbf(x, x, bandwidth)
    starts = rng.integers(0, len(x), size=permutations)
    values: dict[int, float] = {}
    for start in np.unique(starts):
        inside = np.zeros(len(x), dtype=bool)
        inside[(start + np.arange(window)) % len(x)] = True
        values[int(start)] = unbiased_mmd2(
            kernel[np.ix_(inside, inside)],
            kernel[np.ix_(~inside, ~inside)],
            kernel[np.ix_(inside, ~inside)],
        )
    return np.array([values[int(start)] for start in starts])
