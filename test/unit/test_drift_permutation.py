"""Permutation tests: their level, their power, and what blocks are for."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.drift.kernels import median_bandwidth
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.permutation import permutation_test


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Features that change slowly, as those of a video do."""
    steps = rng.normal(size=(frames, 6)).astype(np.float32)
    for i in range(1, frames):
        steps[i] += np.float32(0.7) * steps[i - 1]
    return steps


def rejections(correlated: bool, block: int) -> float:
    """Share of 100 pairs of samples without any difference that a 5% test rejects."""
    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(100):
        x, y = (walk(rng, 160) if correlated else rng.normal(size=(160, 6)) for _ in range(2))
        rejected.append(
            permutation_test(x, y, 4.0, rng, permutations=99, block=block).p_value <= 0.05
        )
    return float(np.mean(rejected))


def test_single_rows_keep_the_level_where_rows_are_independent_and_blocks_where_they_are_not() -> (
    None
):
    assert rejections(correlated=False, block=1) < 0.12
    assert rejections(correlated=True, block=1) > 0.4
    assert rejections(correlated=True, block=16) < 0.12


def test_a_difference_is_found_with_and_without_blocks() -> None:
    rng = np.random.default_rng(4)
    x, y = walk(rng, 200), walk(rng, 203) + np.float32(1.5)
    bandwidth = median_bandwidth(np.concatenate([x, y]))
    for block in (1, 16):
        found = permutation_test(x, y, bandwidth, rng, permutations=199, block=block)
        assert found.mmd2 == pytest.approx(mmd2(x, y, bandwidth), abs=1e-6)
        assert found.p_value == pytest.approx(1 / 200)
        assert found.mmd2 > 2 * found.threshold


@pytest.mark.parametrize("permutations", [19, 99, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.29])
def test_the_threshold_and_the_p_value_agree(permutations: int, alpha: float) -> None:
    verdicts = set()
    for seed in range(250):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(12, 2)), rng.normal(0.5, 1, size=(10, 2))
        result = permutation_test(
            x, y, 1.5, rng, permutations=permutations, alpha=alpha, block=1 + seed % 2
        )
        verdict = result.p_value <= alpha + 1e-9
        assert verdict == (result.mmd2 > result.threshold)
        verdicts.add(verdict)
    assert verdicts == {True, False}


def test_few_blocks_tie_with_themselves() -> None:
    # Of the 20 arrangements of 3 and 3 blocks two have this MMD^2: as it is, and swapped.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(12, 3)), rng.normal(9, 1, size=(12, 3))
        result = permutation_test(x, y, 4.0, rng, permutations=1999, alpha=0.2, block=4)
        assert result.p_value == pytest.approx(0.1, abs=0.03)


def test_tests_that_could_not_tell_are_refused() -> None:
    x, rng = np.random.default_rng(0).normal(size=(40, 3)), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"18 permutations are too few for alpha 0\.05"):
        permutation_test(x, x, 1.0, rng, permutations=18)
    with pytest.raises(ValueError, match=r"2 and 2 blocks of 20, too few for alpha 0\.05"):
        permutation_test(x, x, 1.0, rng, block=20)
    with pytest.raises(ValueError, match="at least 1"):
        permutation_test(x, x, 1.0, rng, block=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        permutation_test(x, x, 1.0, rng, alpha=1.0)
    with pytest.raises(ValueError, match="first sample has 1 feature"):
        permutation_test(x[:1], x, 1.0, rng)
