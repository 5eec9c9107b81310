"""Raw features as nodes publish them, from those that a drift reference keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.monitor import DriftReference


def raw_features(reference: DriftReference) -> NDArray[np.float32]:
    """(n, d) features of the source frames that a reference keeps, as they were given to it."""
    whitening = reference.whitening
    raw = np.linalg.solve(whitening.matrix.T.astype(np.float64), reference.features.T).T
    return (raw + whitening.mean).astype(np.float32)
