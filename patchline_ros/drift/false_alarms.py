"""How far windows of the source itself are from it, and the threshold that they rarely pass."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.kernels import Features, checked_sample, mean_of_pairs, rbf

_NEAR: Final = 0.05
"""Share of the source on each side of a window that is too near to it to be compared with."""


def window_null(
    x: Features, places: NDArray[np.intp], bandwidth: float, window: int
) -> NDArray[np.float64]:
    """MMD^2 of windows of the source itself: what a monitor meets while nothing has drifted.

    Each window of consecutive rows is compared with the rows at `places`, less those that are near
    it in time. A car's windows have no such neighbours in the source: with them the values would
    be far too small.

    Args:
        x: (n, d) source features in the order of time.
        places: rows of x that the monitor compares with, in order.
        bandwidth: of the RBF kernel.
        window: rows of a window; the monitor's.

    Returns:
        (n - window + 1,) unbiased MMD^2 values, in the order of time.

    Raises:
        ValueError: as checked_sample(); a window below 2; fewer than two windows of rows.
    """
    checked_sample(x, "the source")
    if window < 2:
        raise ValueError(f"a window has {window} frames; it must have at least 2")
    if len(x) < 2 * window:
        raise ValueError(
            f"a window of {window} frames needs at least {2 * window} source frames to be "
            f"compared with, not {len(x)}"
        )
    across = rbf(x, x[places], bandwidth)
    # However short the source is, as many rows as a window has stay to compare with.
    most = (len(x) - 2 * window) // 2
    near = min(max(window, round(_NEAR * len(x))), most)
    values = np.empty(len(x) - window + 1)
    for start in range(len(values)):
        end = start + window
        far = (places < start - near) | (places >= end + near)
        rows = x[start:end]
        values[start] = (
            mean_of_pairs(rbf(rows, rows, bandwidth))
            + mean_of_pairs(across[np.ix_(places[far], far)])
            - 2 * across[start:end, far].mean(dtype=np.float64)
        )
    return values


def window_threshold(null: NDArray[np.float64], window: int, false_alarm: int) -> float:
    """The MMD^2 that windows of the source are expected to pass once in so many frames.

    The source is cut into runs of two windows, of which the largest values follow a Gumbel
    distribution (Gumbel, Statistics of Extremes, 1958), here by the method of moments. So the
    threshold may lie above all that a short source shows, and is never below it.

    Args:
        null: of all windows of the source, in the order of time, as window_null() gives it.
        window: frames of a window.
        false_alarm: frames on which one false alarm is expected.

    Raises:
        ValueError: `false_alarm` is less than two runs.
    """
    run = 2 * window
    if false_alarm < 2 * run:
        raise ValueError(
            f"one false alarm in {false_alarm} frames can't be told with windows of {window}; "
            f"take {2 * run} frames or more"
        )
    largest = np.array([null[start : start + run].max() for start in range(0, len(null), run)])
    if len(largest) < 2:
        return float(null.max())
    scale = largest.std(ddof=1) * np.sqrt(6) / np.pi
    mode = largest.mean() - np.euler_gamma * scale
    expected = mode - scale * np.log(-np.log(1 - run / false_alarm))
    return float(max(expected, null.max()))
