"""Features on a scale on which the source looks the same in every direction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from patchline_ros.drift.whitening import SHRINKAGE, Whitening


def correlated(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Five features, of which the last two are nearly the same."""
    x = rng.normal(size=(rows, 5)) * [1, 20, 0.1, 3, 3] + [0, 100, 5, -2, -2]
    x[:, 4] = x[:, 3] + 0.01 * x[:, 4]
    return x.astype(np.float32)


def test_distances_are_the_mahalanobis_distances_by_the_shrunk_correlations() -> None:
    rng = np.random.default_rng(0)
    source, frames = correlated(rng, 500), correlated(rng, 20)
    whitened = Whitening.of(source)(frames)
    scale = source.astype(np.float64).std(axis=0)
    shrunk = (1 - SHRINKAGE) * np.corrcoef(source, rowvar=False) + SHRINKAGE * np.eye(5)
    inverse = np.linalg.inv(shrunk * np.outer(scale, scale))
    expected = cdist(frames, frames, "mahalanobis", VI=inverse)
    assert cdist(whitened, whitened) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_frame_alone_is_whitened_as_among_others() -> None:
    rng = np.random.default_rng(1)
    whitening, frames = Whitening.of(correlated(rng, 100)), correlated(rng, 3)
    assert whitening(frames[1]) == pytest.approx(whitening(frames)[1], abs=1e-5)
    assert whitening(frames[1]).shape == (5,)


def test_what_never_changes_in_the_source_counts_as_soon_as_it_does() -> None:
    source = correlated(np.random.default_rng(2), 100)
    source[:, 2] = 7
    whitening = Whitening.of(source)
    assert np.isfinite(whitening(source)).all()
    moved = source[:1] + np.float32([0, 0, 0.01, 0, 0])
    assert np.abs(whitening(moved) - whitening(source[:1])).max() > 100


def test_the_scales_of_earlier_bundles_are_kept() -> None:
    mean, deviation = np.float32([1, 2, 3]), np.float32([0.5, 4, 1e-6])
    frames = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    whitened = Whitening.by_deviations(mean, deviation)(frames)
    assert whitened == pytest.approx((frames - mean) / deviation, rel=1e-5)
