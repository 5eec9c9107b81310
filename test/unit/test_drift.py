"""MMD against its definition, and the monitor on streams whose change is known."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.drift.mmd import block_permutation_null, median_bandwidth, mmd2
from patchline_ros.drift.monitor import DriftMonitor, DriftReference


def walk(rng: np.random.Generator, frames: int, shift: float = 0.0) -> np.ndarray:
    """Features that change slowly, as those of a video do."""
    steps = rng.normal(size=(frames, 6)).astype(np.float32)
    slow = np.zeros_like(steps)
    for i in range(1, frames):
        slow[i] = 0.7 * slow[i - 1] + steps[i]
    return slow + shift


def test_mmd2_equals_the_double_sum() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * 1.5**2)))

    n, m = len(x), len(y)
    within_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j)
    within_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j)
    across = sum(k(a, b) for a in x for b in y)
    expected = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
    assert mmd2(x, y, 1.5) == pytest.approx(expected, abs=1e-6)


def test_mmd2_is_about_zero_without_drift_and_grows_with_it() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    same = rng.normal(size=(300, 4)).astype(np.float32)
    bandwidth = median_bandwidth(x)
    values = [mmd2(same + shift, x, bandwidth) for shift in (0, 0.3, 1, 3)]
    assert abs(values[0]) < 0.01
    assert values == sorted(values)


def test_blocks_give_correlated_frames_a_higher_threshold_than_single_frames() -> None:
    x = walk(np.random.default_rng(2), 300)
    bandwidth = median_bandwidth(x)
    rng = np.random.default_rng(0)
    blocks = block_permutation_null(x, bandwidth, 16, 200, rng)
    singles = [
        mmd2(x[order[:16]], x[order[16:]], bandwidth)
        for order in (rng.permutation(300) for _ in range(200))
    ]
    assert np.quantile(blocks, 0.95) > 3 * np.quantile(singles, 0.95)


def test_the_monitor_is_quiet_on_the_source_and_sees_a_change() -> None:
    rng = np.random.default_rng(3)
    reference = DriftReference.from_source(walk(rng, 400), 16, 0.01, 300, seed=0)
    monitor = DriftMonitor(reference)
    quiet = [monitor.update(f, i) for i, f in enumerate(walk(rng, 600))]
    assert quiet[:15] == [None] * 15
    # A threshold at the 99% quantile of the source's own windows is passed about that rarely.
    assert np.mean([reading.drifting for reading in quiet[15:]]) < 0.05
    loud = [monitor.update(f, 600 + i) for i, f in enumerate(walk(rng, 60, shift=9.0))]
    first = next(i for i, reading in enumerate(loud) if reading.drifting)
    assert first < 16
    assert loud[-1].drifting
    assert loud[-1].p_value == pytest.approx(1 / 301)
    # The drift began within the window on which it was first seen.
    assert loud[-1].since_ns == 600 + first - 15
    after = [monitor.update(f, 660 + i) for i, f in enumerate(walk(rng, 100))]
    assert np.mean([reading.drifting for reading in after[16:]]) < 0.2
    assert after[-1].mmd2 < 0.3 * loud[-1].mmd2


def test_bad_features_are_named() -> None:
    reference = DriftReference.from_source(walk(np.random.default_rng(0), 64), 8, 0.05, 20, seed=0)
    monitor = DriftMonitor(reference)
    with pytest.raises(ValueError, match="3 features came"):
        monitor.update(np.zeros(3, np.float32), 0)
    with pytest.raises(ValueError, match="not finite"):
        monitor.update(np.full(6, np.nan, np.float32), 0)
    with pytest.raises(ValueError, match="at least 64 source frames"):
        DriftReference.from_source(walk(np.random.default_rng(0), 40), 32, 0.05, 20, seed=0)
    with pytest.raises(ValueError, match="all feature vectors are equal"):
        DriftReference.from_source(np.ones((64, 3), np.float32), 8, 0.05, 20, seed=0)
    with pytest.raises(ValueError, match="not finite"):
        DriftReference.from_source(np.full((64, 3), np.inf, np.float32), 8, 0.05, 20, seed=0)
