"""What the gate saw of a new model, with which a swap is watched on the road."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import Field

from patchline_ros.config_files import StrictModel

_LEAST_ERROR: Final = 0.02
"""A few frames can be alike by chance: share of the agreement, and of the entropy, that an error
has at least."""


_MOST_NATS: Final = 100.0
"""No answer is less sure: an error beyond would let pass whatever a model does on the road."""
_ROUNDING: Final = 1e-6
"""By which a mean may leave its bounds."""


class Expected(StrictModel):
    """What the gate saw of the new model on its frames, as means over frames.

    On the road the same is to be seen (`runtime/swap_monitor.py`); errors are standard errors of
    the means.
    """

    agreement: float = Field(ge=-_ROUNDING, le=1 + _ROUNDING)
    """Agreement with the model that ran then, 0..1 (`vision/agreement.py`)."""
    ran: str | None = None
    """The model that ran then: `PatchSetMetadata.sha256` of its patch set, empty for the source
    model; None: not known, as in patch sets that are older than this field."""
    agreement_error: float = Field(gt=0, le=1)
    entropy: float = Field(ge=-_ROUNDING, le=_MOST_NATS)
    """Mean entropy of the answers, in nats."""
    entropy_error: float = Field(gt=0, le=_MOST_NATS)


def expectation(agreements: Sequence[float], entropies: Sequence[float]) -> Expected:
    """Means over pictures with their standard errors, which are never taken to be nothing.

    Args:
        agreements: of two models on each of two or more pictures.
        entropies: of the new one, in nats.
    """
    agreement, entropy = float(np.mean(agreements)), float(np.mean(entropies))
    root = np.sqrt(len(agreements))
    return Expected(
        agreement=agreement,
        agreement_error=float(max(np.std(agreements, ddof=1) / root, _LEAST_ERROR)),
        entropy=entropy,
        entropy_error=float(max(np.std(entropies, ddof=1) / root, _LEAST_ERROR * entropy, 1e-6)),
    )
