"""Kernels and MMD^2 against their definitions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.drift import kernels
from patchline_ros.drift.kernels import median_bandwidth, rbf
from patchline_ros.drift.mmd import mmd2, mmd2_of_splits


def defined(x: np.ndarray, y: np.ndarray, bandwidths: tuple[float, ...], biased: bool) -> float:
    """MMD^2 as a double sum over pairs."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        distance = ((a.astype(float) - b) ** 2).sum()
        return float(np.mean([np.exp(-distance / (2 * width**2)) for width in bandwidths]))

    def within(sample: np.ndarray) -> float:
        pairs = [
            k(a, b) for i, a in enumerate(sample) for j, b in enumerate(sample) if biased or i != j
        ]
        return float(np.mean(pairs))

    return within(x) + within(y) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("bandwidths", [(1.5,), (0.5, 1.0, 4.0)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_mmd2_equals_the_double_sum(
    biased: bool, bandwidths: tuple[float, ...], offset: float
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(7, 3)) + offset).astype(np.float32)
    y = (rng.normal(0.5, 1, size=(9, 3)) + offset).astype(np.float32)
    assert mmd2(x, y, bandwidths, biased=biased) == pytest.approx(
        defined(x, y, bandwidths, biased), abs=1e-6
    )


@pytest.mark.parametrize("narrowing", [1, 5, 50])
def test_the_kernel_is_within_its_error_also_where_float32_is_not(narrowing: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 20)).astype(np.float32)
    near = x + (0.5 / narrowing) * rng.normal(size=(60, 20)).astype(np.float32)
    bandwidth = median_bandwidth(x) / narrowing
    exact = np.exp(
        -((x[:, None].astype(float) - near[None]) ** 2).sum(2) / (2 * bandwidth**2),
    )
    assert exact.max() > 0.1
    assert np.abs(rbf(x, near, bandwidth) - exact).max() < 1e-5


def test_mmd2_is_about_zero_without_drift_and_grows_with_it() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    same = rng.normal(size=(300, 4)).astype(np.float32)
    bandwidth = median_bandwidth(x)
    values = [mmd2(same + np.float32(shift), x, bandwidth) for shift in (0, 0.3, 1, 3)]
    assert abs(values[0]) < 0.01
    assert values == sorted(values)
    assert mmd2(x, x, bandwidth, biased=True) == pytest.approx(0, abs=1e-6)


def test_the_matrix_in_tiles_is_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    inside = rng.permuted(np.arange(50)[:, None].repeat(3, axis=1), axis=0) < 20
    whole = mmd2_of_splits(x, inside, 2.0)
    monkeypatch.setattr(kernels, "TILE", 8)
    assert mmd2_of_splits(x, inside, 2.0) == pytest.approx(whole, abs=1e-6)
    assert whole[1] == pytest.approx(mmd2(x[inside[:, 1]], x[~inside[:, 1]], 2.0), abs=1e-6)


def test_the_median_is_that_of_the_distances_between_different_rows() -> None:
    x = np.array([[0.0], [1.0], [4.0]]) + 100
    assert median_bandwidth(x) == pytest.approx(3)
    many = np.random.default_rng(3).normal(size=(3000, 2))
    assert median_bandwidth(many) == pytest.approx(median_bandwidth(many[:2000]), rel=0.05)


ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
SPOILT = ROWS.copy()
SPOILT[4, 1] = np.nan
INFINITE = ROWS.copy()
INFINITE[0, 0] = -np.inf


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (ROWS[:0], ROWS, "the first sample has 0 feature vectors; at least 2"),
        (ROWS, ROWS[:1], "the second sample has 1 feature vectors; at least 2"),
        (SPOILT, ROWS, "the first sample has features that are not finite in 1 of 6 rows.* row 4"),
        (ROWS, INFINITE, "the second sample has features that are not finite.* row 0"),
        (ROWS, ROWS[:, :2], "3 and 2 features a row"),
        (ROWS[0], ROWS, r"shape \(3,\)"),
    ],
)
def test_samples_that_cannot_be_compared_are_named(x: np.ndarray, y: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        mmd2(x, y, 1.0)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf"), (), (1.0, 0.0)])
def test_a_bandwidth_is_positive(bandwidth: float | tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        mmd2(ROWS, ROWS, bandwidth)


def test_no_bandwidth_can_be_chosen_for_equal_rows() -> None:
    with pytest.raises(ValueError, match="all feature vectors are equal"):
        median_bandwidth(np.full((9, 3), 0.1, np.float32))
    mostly = np.full((20, 3), 0.1, np.float32)
    mostly[0] = 5
    with pytest.raises(ValueError, match="half of the pairs"):
        median_bandwidth(mostly)
    with pytest.raises(ValueError, match="not finite"):
        median_bandwidth(SPOILT)
