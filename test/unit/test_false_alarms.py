"""Windows of the source itself, and the threshold that they rarely pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gumbel_r

from patchline_ros.drift.false_alarms import window_null, window_threshold
from patchline_ros.drift.kernels import median_bandwidth
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftMonitor, DriftReference
from patchline_ros.drift.whitening import Whitening


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Features that change slowly, as those of a video do."""
    steps = rng.normal(size=(frames, 6)).astype(np.float32)
    slow = np.zeros_like(steps)
    for i in range(1, frames):
        slow[i] = 0.9 * slow[i - 1] + steps[i]
    return slow


def test_a_window_is_compared_with_what_is_not_near_it() -> None:
    x = walk(np.random.default_rng(0), 415)
    places = np.arange(0, 415, 2)
    null = window_null(x, places, 16)
    assert null.shape == (400,)
    # 20 windows, which are of 35 rows, are compared with the same rows: without a twentieth of the
    # source on each side of them, and by what is fitted to the others alone.
    for block in (0, 140, 380):
        far = np.r_[0 : max(0, block - 21), block + 35 + 21 : 415]
        whitening = Whitening.of(x[far])
        others = whitening(x[far[far % 2 == 0]])
        for start in (block, block + 19):
            expected = mmd2(whitening(x[start : start + 16]), others, median_bandwidth(others))
            assert null[start] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("frames", [16, 17, 36, 64, 320])
def test_short_sources_are_compared_with_what_is_left_of_them(frames: int) -> None:
    null = window_null(walk(np.random.default_rng(3), frames), np.arange(frames), 8)
    assert null.shape == (frames - 7,) and np.isfinite(null).all()


def test_the_threshold_is_a_return_level_of_the_largest_values() -> None:
    rng = np.random.default_rng(1)
    # One value to each run of 16 frames, so that these are the largest ones.
    null = np.repeat(gumbel_r.rvs(0.2, 0.05, size=20_000, random_state=rng), 16)
    expected = gumbel_r.ppf(1 - 16 / 1e9, 0.2, 0.05)
    assert window_threshold(null, 8, 10**9) == pytest.approx(expected, rel=0.02)
    # Never below what the source itself has shown.
    assert window_threshold(null, 8, 100) == null.max()
    with pytest.raises(ValueError, match=r"one false alarm in 31 frames .* take 32 frames or more"):
        window_threshold(null, 8, 31)


def test_fresh_frames_of_the_source_raise_about_as_many_alarms_as_were_asked_for() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(5):
        monitor = DriftMonitor(DriftReference.from_source(walk(rng, 640), 8, 1000))
        before = False
        for i, frame in enumerate(walk(rng, 2000)):
            reading = monitor.update(frame, i + 1)
            drifting = reading is not None and reading.since_ns > 0
            alarms += drifting and not before
            before = drifting
    # Ten are expected of 10,000 frames.
    assert 0 < alarms < 30


def test_sources_that_say_nothing_are_refused() -> None:
    x, places = walk(np.random.default_rng(0), 40), np.arange(40)
    with pytest.raises(ValueError, match="at least 42 source frames"):
        window_null(x, places, 21)
    with pytest.raises(ValueError, match="at least 2"):
        window_null(x, places, 1)
