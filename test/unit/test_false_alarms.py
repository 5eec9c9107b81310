"""Windows of the source itself, and the threshold that they rarely pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gumbel_r

from patchline_ros.drift.false_alarms import window_null, window_threshold
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftMonitor, DriftReference


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Features that change slowly, as those of a video do."""
    steps = rng.normal(size=(frames, 6)).astype(np.float32)
    slow = np.zeros_like(steps)
    for i in range(1, frames):
        slow[i] = 0.9 * slow[i - 1] + steps[i]
    return slow


def test_a_window_is_compared_with_what_is_not_near_it() -> None:
    x = walk(np.random.default_rng(0), 400)
    places = np.arange(0, 400, 2)
    null = window_null(x, places, 4.0, 16)
    assert null.shape == (385,)
    for start in (0, 150, 384):
        # A twentieth of the source on each side is too near.
        far = [place for place in places if place < start - 20 or place >= start + 36]
        expected = mmd2(x[start : start + 16], x[far], 4.0)
        assert null[start] == pytest.approx(expected, abs=1e-6)


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
        window_null(x, places, 1.0, 21)
    with pytest.raises(ValueError, match="at least 2"):
        window_null(x, places, 1.0, 1)
