"""The monitor on streams whose change is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from raw_features import raw_features

from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftMonitor, DriftReading, DriftReference


def walk(rng: np.random.Generator, frames: int, shift: float = 0.0) -> np.ndarray:
    """Features that change slowly, as those of a video do."""
    steps = rng.normal(size=(frames, 6)).astype(np.float32)
    slow = np.zeros_like(steps)
    for i in range(1, frames):
        slow[i] = 0.7 * slow[i - 1] + steps[i]
    return slow + shift


def test_readings_are_the_mmd2_of_the_window_against_the_reference() -> None:
    rng = np.random.default_rng(5)
    reference = DriftReference.from_source(walk(rng, 100), 8, 1000)
    monitor = DriftMonitor(reference)
    frames = walk(rng, 20, shift=1.0)
    for i, frame in enumerate(frames):
        reading = monitor.update(frame, i + 1)
        if i >= 7:
            window = reference.whitening(frames[i - 7 : i + 1])
            assert reading is not None
            assert reading.mmd2 == pytest.approx(
                mmd2(window, reference.features, reference.bandwidth), abs=1e-6
            )


def test_the_monitor_is_quiet_on_the_source_and_sees_a_change() -> None:
    rng = np.random.default_rng(3)
    reference = DriftReference.from_source(walk(rng, 400), 16, 1000)
    monitor = DriftMonitor(reference)
    quiet = [monitor.update(f, i + 1) for i, f in enumerate(walk(rng, 600))]
    assert quiet[:15] == [None] * 15
    # A threshold at the 99% quantile of the source's own windows is passed about that rarely.
    assert np.mean([reading.drifting for reading in quiet[15:]]) < 0.05
    loud = [monitor.update(f, 601 + i) for i, f in enumerate(walk(rng, 60, shift=9.0))]
    first = next(i for i, reading in enumerate(loud) if reading.drifting)
    assert first < 16
    assert loud[-1].drifting
    assert loud[-1].p_value == pytest.approx(1 / (1 + 385))
    # The drift began within the window on which it was first seen.
    assert loud[-1].since_ns == 601 + first - 15
    after = [monitor.update(f, 661 + i) for i, f in enumerate(walk(rng, 100))]
    assert np.mean([reading.drifting for reading in after[16:]]) < 0.2
    assert after[-1].mmd2 < 0.3 * loud[-1].mmd2


def test_a_drift_at_the_threshold_keeps_its_name_until_a_window_of_calm_readings() -> None:
    window = 8
    rng = np.random.default_rng(1)
    reference = DriftReference.from_source(walk(rng, 100), window, 1000)
    source = raw_features(reference)
    calm, drifted = iter(source), iter(source + 9 * source.std(axis=0))
    monitor = DriftMonitor(reference)
    stamps = iter(range(1, 200))

    def readings(frames: Iterator[np.ndarray], count: int) -> list[DriftReading]:
        found = [monitor.update(next(frames), next(stamps)) for _ in range(count)]
        return [reading for reading in found if reading is not None]

    def first_calm() -> DriftReading:
        return next(r for r in iter(lambda: readings(calm, 1)[0], None) if not r.drifting)

    readings(calm, window)
    named = readings(drifted, 2 * window)[-1].since_ns
    assert named
    for _ in range(3):
        assert first_calm().since_ns == named, "one calm reading is no end of the drift"
        assert not any(reading.drifting for reading in readings(calm, 1))
        back = readings(drifted, window)[-1]
        assert back.drifting and back.since_ns == named
    first_calm()
    assert [r.since_ns for r in readings(calm, window - 1)] == [named] * (window - 2) + [0]
    assert readings(drifted, window)[-1].since_ns > named


def test_bad_features_are_named() -> None:
    reference = DriftReference.from_source(walk(np.random.default_rng(0), 64), 8, 1000)
    monitor = DriftMonitor(reference)
    with pytest.raises(ValueError, match="3 features came"):
        monitor.update(np.zeros(3, np.float32), 1)
    with pytest.raises(ValueError, match="not finite"):
        monitor.update(np.full(6, np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="a stamp of 0, by which a drift can't be named"):
        monitor.update(np.zeros(6, np.float32), 0)
    with pytest.raises(ValueError, match="at least 64 source frames"):
        DriftReference.from_source(walk(np.random.default_rng(0), 40), 32, 1000)
    with pytest.raises(ValueError, match="all feature vectors are equal"):
        DriftReference.from_source(np.ones((64, 3), np.float32), 8, 1000)
    with pytest.raises(ValueError, match="not finite"):
        DriftReference.from_source(np.full((64, 3), np.inf, np.float32), 8, 1000)
