"""Random Fourier features: their error as stated, and the streaming form as the batch form."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.random_features import RandomFeatures, WindowMMD

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 10)).astype(np.float32) + np.float32(500)
Y = RNG.normal(0.6, 1.2, size=(80, 10)).astype(np.float32) + np.float32(500)
WIDTHS = (2.0, 4.0, 8.0)


@pytest.mark.parametrize("bandwidth", [4.0, WIDTHS])
@pytest.mark.parametrize("biased", [False, True])
def test_the_error_is_the_stated_one(bandwidth: float | tuple[float, ...], biased: bool) -> None:
    exact = mmd2(X, Y, bandwidth, biased=biased)
    v = mmd2(X, Y, bandwidth, biased=True)
    for frequencies in (96, 1536):
        estimates = [
            RandomFeatures(10, bandwidth, frequencies, seed).mmd2(X, Y, biased=biased)
            for seed in range(100)
        ]
        errors = np.array([value for value, _ in estimates]) - exact
        bound = np.sqrt(v * (4 - v) / frequencies)
        bound += 0 if biased else (1 / 59 + 1 / 79) / (2 * np.sqrt(frequencies))
        spread = errors.std()
        # Three standard errors of a mean, and of a standard deviation, of 100 values.
        assert abs(errors.mean()) < 0.3 * spread
        assert spread < 1.2 * bound
        stated = np.mean([error for _, error in estimates])
        # Frequencies that are shared out evenly among the bandwidths have a little less.
        assert 0.7 * stated < spread < 1.25 * stated


@pytest.mark.parametrize("biased", [False, True])
def test_the_stream_equals_the_batch(biased: bool) -> None:
    features = RandomFeatures(10, WIDTHS, 60, seed=3)
    stream = WindowMMD(features, Y, 16, biased=biased)
    for i, frame in enumerate(X):
        pushed = stream.push(frame)
        if i < 15:
            assert pushed is None
        else:
            assert pushed == pytest.approx(
                features.mmd2(X[i - 15 : i + 1], Y, biased=biased), abs=1e-7
            )


def test_a_frame_that_is_refused_leaves_the_window_as_it_was() -> None:
    features = RandomFeatures(10, 4.0, 64, seed=0)
    stream = WindowMMD(features, Y, 4)
    for frame in X[:3]:
        stream.push(frame)
    for bad, told in (
        (np.full(10, np.nan, np.float32), "not finite"),
        (X[0, :9], "rows of 9 features came, the frequencies are for 10"),
        (X[:1], r"shape \(1, 10\)"),
    ):
        with pytest.raises(ValueError, match=told):
            stream.push(bad)
    assert stream.push(X[3]) == pytest.approx(features.mmd2(X[:4], Y), abs=1e-7)


def test_the_seed_decides_the_frequencies() -> None:
    one, same, other = (RandomFeatures(10, 4.0, 64, seed).mmd2(X, Y) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_bad_input_is_named() -> None:
    features = RandomFeatures(10, 4.0, 64, seed=0)
    with pytest.raises(ValueError, match="multiple of the number of bandwidths, 3"):
        RandomFeatures(10, WIDTHS, 64, seed=0)
    with pytest.raises(ValueError, match="at least 2"):
        RandomFeatures(10, 4.0, 1, seed=0)
    with pytest.raises(ValueError, match="rows of 9 features"):
        features.mmd2(X[:, :9], Y[:, :9])
    with pytest.raises(ValueError, match="10 and 9 features"):
        features.mmd2(X, Y[:, :9])
    with pytest.raises(ValueError, match="the second sample has 1 feature"):
        features.mmd2(X, Y[:1])
    with pytest.raises(ValueError, match="the reference has 1 feature"):
        WindowMMD(features, Y[:1], 4)
    with pytest.raises(ValueError, match="rows of 9 features"):
        WindowMMD(features, Y[:, :9], 4)
    with pytest.raises(ValueError, match="a window has 1 frames"):
        WindowMMD(features, Y, 1)
