"""Source pictures under made drifts, for source models that know weather."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchline_ros.drift.corruptions import MADE_DRIFTS, corrupt
from patchline_ros.offline.drifted import Drift
from patchline_ros.tasks import Image


@dataclass(frozen=True)
class _Drifted:
    """A picture under one drift."""

    drift: Drift
    seed: int

    def __call__(self, image: Image) -> Image:
        corruption, severity = self.drift
        return corrupt(image, corruption, severity, np.random.default_rng(self.seed))


def _as_it_is(image: Image) -> Image:
    return image


@dataclass(frozen=True)
class DriftedViews:
    """Draws what becomes of a picture: one of the drifts that patches are prepared for, or nothing.

    Their severities are not those that a label-free gate is fitted to, nor those that choose the
    epoch of prepared patches.

    Attributes:
        share: of the pictures that are under a drift, 0..1.
    """

    share: float

    def __call__(self, rng: np.random.Generator) -> Callable[[Image], Image]:
        """Draws it for the next picture."""
        if rng.random() >= self.share:
            return _as_it_is
        drift = MADE_DRIFTS[int(rng.integers(len(MADE_DRIFTS)))]
        return _Drifted(drift, int(rng.integers(2**32)))
