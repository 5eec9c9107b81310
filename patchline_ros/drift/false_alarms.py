"""How far windows of the source itself are from it, and the threshold that they rarely pass."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.kernels import (
    Features,
    checked_sample,
    mean_of_pairs,
    median_bandwidth,
    rbf,
)
from patchline_ros.drift.whitening import SHRINKAGE, Whitening

_NEAR: Final = 0.05
"""Share of the source on each side of a window that is too near to it to be compared with."""
_BLOCKS: Final = 20
"""Parts of the source whose windows are each compared with what is fitted to the other parts."""


def window_null(
    raw: Features, places: NDArray[np.intp], window: int, shrinkage: float = SHRINKAGE
) -> NDArray[np.float64]:
    """MMD^2 of windows of the source itself: what a monitor meets while nothing has drifted.

    A window of consecutive rows is compared with the rows at `places`, as a monitor does it, less
    those that are near the window in time. What a monitor fits to the source (whitening and
    bandwidth) is fitted without the window and without those rows, too. A car's windows have no
    such neighbours in the source: with them the values would be far too small.

    Args:
        raw: (n, d) raw source features in the order of time.
        places: rows that the monitor compares with, in order.
        window: rows of a window; the monitor's.
        shrinkage: of the whitening; the monitor's.

    Returns:
        (n - window + 1,) unbiased MMD^2 values, in the order of time.

    Raises:
        ValueError: as checked_sample(); a window below 2; fewer than two windows of rows.
    """
    checked_sample(raw, "the source")
    if window < 2:
        raise ValueError(f"a window has {window} frames; it must have at least 2")
    if len(raw) < 2 * window:
        raise ValueError(
            f"a window of {window} frames needs at least {2 * window} source frames to be "
            f"compared with, not {len(raw)}"
        )
    windows = len(raw) - window + 1
    size = -(-windows // _BLOCKS)
    # However short the source is, about as many rows as a window has stay to compare with.
    most = max(0, (len(raw) - 2 * window - size + 1) // 2)
    near = min(max(window, round(_NEAR * len(raw))), most)
    rows = np.arange(len(raw))
    values = np.empty(windows)
    for first in range(0, windows, size):
        end = min(first + size, windows) + window - 1
        far = (rows < first - near) | (rows >= end + near)
        whitening = Whitening.of(raw[far], shrinkage)
        others = whitening(raw[places[far[places]]])
        values[first : end - window + 1] = _windows_of(whitening(raw[first:end]), others, window)
    return values


def _windows_of(x: Features, y: Features, window: int) -> NDArray[np.float64]:
    """MMD^2 of each window of the rows of `x` from the rows of `y`."""
    bandwidth = median_bandwidth(y)
    within_others = mean_of_pairs(rbf(y, y, bandwidth))
    across = rbf(x, y, bandwidth).mean(axis=1, dtype=np.float64)
    within = rbf(x, x, bandwidth)
    return np.array(
        [
            mean_of_pairs(within[start : start + window, start : start + window])
            + within_others
            - 2 * across[start : start + window].mean()
            for start in range(len(x) - window + 1)
        ]
    )


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
