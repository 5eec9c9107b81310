"""Puts features on a scale on which the source itself looks the same in every direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.kernels import Features, product

SHRINKAGE: Final = 0.3
"""Share of the identity in the correlation matrix. A source shows few roads, and what varies little
on those may vary on others: without shrinkage such a direction counts for too much. Chosen on roads
that no figure is claimed on (docs/method.md)."""

_LEAST_DEVIATION: Final = 1e-6


@dataclass(frozen=True)
class Whitening:
    """What is taken from raw features, and what the rest is multiplied by.

    Attributes:
        mean: (d,) of the raw source features.
        matrix: (d, d); a row of raw features less the mean, times this, is whitened.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @classmethod
    def of(cls, raw: Features, shrinkage: float = SHRINKAGE) -> Whitening:
        """Fitted to raw features (n, d) by their means, deviations and shrunk correlations.

        Distances between whitened rows are Mahalanobis distances of the raw ones. How the road
        itself differs from frame to frame then counts less than what no clear frame shows.
        Shrinkage as in Ledoit and Wolf (Journal of Multivariate Analysis, 2004), by a fixed share.

        Args:
            raw: two rows or more.
            shrinkage: share of the identity in the correlations, above 0; 1 leaves each feature on
                its own.
        """
        rows = raw.astype(np.float64)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        deviation = np.maximum(deviation, _LEAST_DEVIATION)
        standardised = (rows - mean) / deviation
        correlation = product(np.ascontiguousarray(standardised.T), standardised) / len(rows)
        correlation *= 1 - shrinkage
        correlation[np.diag_indices(len(mean))] += shrinkage
        root = np.linalg.inv(np.linalg.cholesky(correlation)).T
        # In C order: safetensors writes the memory of an array as it lies.
        matrix = np.ascontiguousarray(root / deviation[:, None], np.float32)
        return cls(mean.astype(np.float32), matrix)

    @classmethod
    def by_deviations(cls, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> Whitening:
        """Each feature on its own: what bundles of formats before 5 were made with.

        Args:
            mean, deviation: (d,) of the raw source features.
        """
        return cls(mean, np.diag(1 / deviation).astype(np.float32))

    def __call__(self, raw: Features) -> Features:
        """Raw features (..., d), whitened."""
        centred = (raw - self.mean).astype(np.float32)
        return product(centred.reshape(-1, len(self.mean)), self.matrix).reshape(raw.shape)
