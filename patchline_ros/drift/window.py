"""The last frames' features, as the signature of a drift."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from patchline_ros.drift.kernels import Features, is_usable

SIGNATURE_FRAMES: Final = 16
"""Frames whose features are the signature of a drift: more than one reading of the monitor, which
has to be quick."""


class FrameWindow:
    """Raw features of the last frames, with their stamps."""

    def __init__(self, width: int, size: int) -> None:
        """Empty.

        Args:
            width: features of a frame; others are not taken.
            size: frames that are kept.
        """
        self._width = width
        self._frames: deque[tuple[int, Features]] = deque(maxlen=size)
        self._size = size

    def add(self, stamp_ns: int, features: Features) -> None:
        """Takes in a frame; one of another width or with values that are no numbers is left out.

        Nothing is said of it here: the drift monitor gets the same frames and says it.
        """
        if features.shape == (self._width,) and is_usable(features):
            self._frames.append((stamp_ns, features))

    def since(self, stamp_ns: int) -> Features | None:
        """(size, d) features, once as many frames as the window holds are of this stamp or later.

        A window in which the drift was only just seen still has frames from before it.
        """
        full = len(self._frames) == self._size
        if not full or self._frames[0][0] < stamp_ns:
            return None
        return np.stack([features for _, features in self._frames])
