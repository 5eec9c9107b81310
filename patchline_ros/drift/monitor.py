"""Watches a stream of features and says when it no longer looks like the source."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.false_alarms import window_null, window_threshold
from patchline_ros.drift.kernels import (
    LARGEST_FEATURE,
    Features,
    checked_sample,
    is_usable,
    mean_of_pairs,
    median_bandwidth,
    rbf,
)
from patchline_ros.drift.whitening import SHRINKAGE, Whitening

REFERENCE_FRAMES: Final = 320
"""Source frames, at most, that each reading is compared with."""


@dataclass(frozen=True)
class DriftReference:
    """What the source looks like.

    Attributes:
        features: (n, d) float32, in the order of time, whitened.
        whitening: of raw features, fitted to the source.
        bandwidth: of the RBF kernel on whitened features.
        null: MMD^2 of windows of the source against the rest of it.
        threshold: MMD^2 above which a window has drifted.
        window: frames a reading is computed on.
    """

    features: Features
    whitening: Whitening
    bandwidth: float
    null: NDArray[np.float64]
    threshold: float
    window: int

    @classmethod
    def from_source(
        cls, raw: Features, window: int, false_alarm: int, shrinkage: float = SHRINKAGE
    ) -> DriftReference:
        """Reference and threshold from raw source features (n, d) in the order of time.

        All rows show what windows of the source are like; at most REFERENCE_FRAMES of them, evenly
        over the whole, are what readings are compared with.

        Args:
            raw: one row a frame, of frames that follow each other as those of a camera do.
            window: frames of a window.
            false_alarm: frames on which one false alarm is expected.
            shrinkage: of the whitening.

        Raises:
            ValueError: too few features, values that are not finite, or features that are all
                equal; or `false_alarm` is less than two runs of frames.
        """
        checked_sample(raw, "the source")
        places = np.linspace(0, len(raw) - 1, min(len(raw), REFERENCE_FRAMES)).astype(int)
        whitening = Whitening.of(raw, shrinkage)
        features = whitening(raw[places])
        bandwidth = median_bandwidth(features)
        null = window_null(raw, places, window, shrinkage)
        return cls(
            features=features,
            whitening=whitening,
            bandwidth=bandwidth,
            null=null,
            threshold=window_threshold(null, window, false_alarm),
            window=window,
        )

    @property
    def width(self) -> int:
        """Features of a frame, d."""
        return len(self.whitening.mean)


@dataclass(frozen=True)
class DriftReading:
    """One look at the last `window` frames; `since_ns` names the drift, see `update`."""

    mmd2: float
    threshold: float
    p_value: float
    drifting: bool
    window: int
    since_ns: int


class DriftMonitor:
    """Unbiased MMD^2 of a sliding window of frames against the source reference.

    The threshold and the p value come from windows of the source itself.
    """

    def __init__(self, reference: DriftReference) -> None:
        self._reference = reference
        self._within_reference = mean_of_pairs(
            rbf(reference.features, reference.features, reference.bandwidth)
        )
        self._window: deque[Features] = deque(maxlen=reference.window)
        # Each frame's mean kernel with the reference: computed once, not for each window it is in.
        self._across: deque[float] = deque(maxlen=reference.window)
        self._stamps: deque[int] = deque(maxlen=reference.window)
        self._since_ns = 0
        self._calm = 0

    def update(self, features: Features, stamp_ns: int) -> DriftReading | None:
        """Takes in one frame's raw features (d,); a reading once the window is full.

        `since_ns` is the stamp from which frames may belong to the present drift: the oldest of
        the window on which it was first seen. It names the drift, and one that hovers at the
        threshold stays the same one: only as many readings below it in a row as the window has
        frames end it. It is 0 while there is none.

        Raises:
            ValueError: features of another length, values that are not finite, or a stamp of 0,
                by which a drift can't be named.
        """
        if features.shape != (self._reference.width,):
            raise ValueError(
                f"{features.size} features came, the bundle's reference has "
                f"{self._reference.width}: another bundle or another node is publishing"
            )
        if not is_usable(features):
            raise ValueError(
                f"features came with values that are not finite or beyond {LARGEST_FEATURE:g}; "
                "they are not used"
            )
        if stamp_ns <= 0:
            raise ValueError(
                "features came with a stamp of 0, by which a drift can't be named; they are not "
                "used: have the camera driver stamp its pictures"
            )
        frame = self._reference.whitening(features)
        across = rbf(frame[None], self._reference.features, self._reference.bandwidth)
        self._window.append(frame)
        self._across.append(float(across.mean(dtype=np.float64)))
        self._stamps.append(stamp_ns)
        if len(self._window) < self._reference.window:
            return None
        mmd2 = self._window_mmd2()
        drifting = mmd2 > self._reference.threshold
        self._calm = 0 if drifting else self._calm + 1
        if drifting and self._since_ns == 0:
            self._since_ns = self._stamps[0]
        elif self._calm >= self._reference.window:
            self._since_ns = 0
        null = self._reference.null
        return DriftReading(
            mmd2=mmd2,
            threshold=self._reference.threshold,
            p_value=float((1 + (null >= mmd2).sum()) / (1 + len(null))),
            drifting=drifting,
            window=self._reference.window,
            since_ns=self._since_ns,
        )

    def _window_mmd2(self) -> float:
        """Unbiased MMD^2 of the window's frames against the reference."""
        frames = np.stack(self._window)
        within_window = mean_of_pairs(rbf(frames, frames, self._reference.bandwidth))
        return within_window + self._within_reference - 2 * float(np.mean(self._across))
