"""Means, paired differences and their intervals, against values by hand and scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from patchline_ros.bench.report.statistics import Summary, difference, summary

OURS = {0: 0.74, 1: 0.75, 2: 0.73, 3: 0.76, 4: 0.75}
FULL = {0: 0.73, 1: 0.74, 2: 0.74, 3: 0.73, 4: 0.73}


def test_summary_by_hand() -> None:
    assert summary([1.0, 2.0, 4.0, 5.0]) == Summary(4, 3.0, pytest.approx((10 / 3) ** 0.5))
    assert summary([0.5]) == Summary(1, 0.5, None)
    with pytest.raises(ValueError, match="no value"):
        summary([])


def test_a_paired_difference_by_hand_and_by_scipy() -> None:
    found = difference(OURS, FULL)
    assert found is not None
    deltas = np.array([0.01, 0.01, -0.01, 0.03, 0.02])
    assert (found.seeds, found.mean) == (5, pytest.approx(0.012))
    # 2.776 is the 97.5% quantile of t with 4 degrees of freedom.
    half = 2.7764 * deltas.std(ddof=1) / 5**0.5
    assert found.interval == (
        pytest.approx(0.012 - half, abs=1e-5),
        pytest.approx(0.012 + half, abs=1e-5),
    )
    t = 0.012 / (deltas.std(ddof=1) / 5**0.5)
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert found.bootstrap is not None
    low, high = found.bootstrap
    rng = np.random.default_rng(3)
    means = rng.choice(deltas, (20000, 5)).mean(axis=1)
    assert low == pytest.approx(np.quantile(means, 0.025), abs=2.5e-3)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=2.5e-3)
    assert difference(OURS, FULL) == found


def test_pairs_are_of_seeds_that_both_have() -> None:
    found = difference({**OURS, 7: 0.1}, {**FULL, 9: 0.9})
    assert found == difference(OURS, FULL)
    assert difference({0: 0.5}, {1: 0.5}) is None


def test_one_seed_has_no_interval() -> None:
    found = difference({0: 0.5}, {0: 0.25})
    assert found is not None
    assert (found.seeds, found.mean) == (1, 0.25)
    assert (found.p, found.interval, found.bootstrap) == (None, None, None)


@pytest.mark.parametrize(("step", "p"), [(0.0, 1.0), (0.25, 0.0)])
def test_equal_differences(step: float, p: float) -> None:
    found = difference({0: 0.5 + step, 1: 0.75 + step}, {0: 0.5, 1: 0.75})
    assert found is not None
    assert (found.p, found.interval) == (p, (step, step))
