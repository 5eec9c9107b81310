"""Our MMD^2 against alibi-detect's, on the same kernel and data."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.permutation import permutation_test

# Rows, rows, features, shift, bandwidths; and MMD^2 by MMDDriftTorch(x, sigma=bandwidths).score(y)
# of alibi-detect 0.13.0 (torch 2.13.0, CPU) on these samples in float64.
CASES = [
    (40, 60, 8, 0.5, (4.0,), 0.08214573656583757),
    (200, 150, 1280, 0.1, (50.0,), 0.04690085448459813),
    (150, 200, 64, 0.2, (2.5, 5.0, 10.0, 20.0, 40.0), 0.027115458688348637),
    (30, 30, 3, 3.0, (1.0,), 0.3739677778385412),
]


def samples(n: int, m: int, width: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, width))
    return x.astype(np.float32), rng.normal(shift, 1.5, size=(m, width)).astype(np.float32)


@pytest.mark.parametrize(("n", "m", "width", "shift", "bandwidths", "theirs"), CASES)
def test_mmd2_is_the_recorded_one(
    n: int, m: int, width: int, shift: float, bandwidths: tuple[float, ...], theirs: float
) -> None:
    x, y = samples(n, m, width, shift)
    assert mmd2(x, y, bandwidths) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(("n", "m", "width", "shift", "bandwidths", "theirs"), CASES)
def test_mmd2_and_the_test_are_those_of_the_installed_one(
    n: int, m: int, width: int, shift: float, bandwidths: tuple[float, ...], theirs: float
) -> None:
    alibi = pytest.importorskip(
        "alibi_detect.cd.pytorch.mmd",
        reason="alibi-detect needs an environment of its own: tools/requirements/alibi.txt",
    )
    x, y = samples(n, m, width, shift)
    detector = alibi.MMDDriftTorch(
        x, sigma=np.array(bandwidths, np.float32), n_permutations=400, device="cpu"
    )
    p_value, value, threshold = detector.score(y)
    ours = permutation_test(x, y, bandwidths, np.random.default_rng(0), permutations=400)
    assert ours.mmd2 == pytest.approx(value, abs=1e-5)
    # Both are drawn at random: a 95% quantile of 400 values.
    assert ours.threshold == pytest.approx(threshold, rel=0.4)
    assert (ours.p_value <= 0.05) == (p_value <= 0.05)
