"""Whether a model does on the road what it did at the gate."""

from __future__ import annotations

from typing import Final

import numpy as np

from patchline_ros.patching.expected import Expected, expectation

COMPARED: Final = 16
"""Pictures on which the models are compared."""
EVERY: Final = 4
"""Each so-manieth picture is: the comparison costs one more pass, of the model before."""
FAR: Final = 3.0
NEAR: Final = 2.0
"""Standard errors."""


class SwapMonitor:
    """Compares the new model with the one before on the first pictures after a swap.

    The gate saw how often the two agree, and how sure the new one is, on labelled frames of the
    same drift. A model is taken to have collapsed when it agrees with the one before less than
    there by more than three standard errors, or by more than two while its entropy, too, is three
    away, up or down. Agreeing more than expected is no collapse.
    """

    def __init__(self, expected: Expected) -> None:
        """Nothing was compared yet."""
        self._expected = expected
        self._pictures = 0
        self._agreements: list[float] = []
        self._entropies: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether enough was compared."""
        return len(self._agreements) >= COMPARED

    def due(self) -> bool:
        """Whether this picture is to be compared; it is asked once a picture."""
        self._pictures += 1
        return (self._pictures - 1) % EVERY == 0

    def add(self, agreement: float, entropy: float) -> None:
        """Takes in a picture: agreement with the model before, the new model's entropy in nats."""
        self._agreements.append(agreement)
        self._entropies.append(entropy)

    def collapse(self) -> str | None:
        """How the model has collapsed; None if it has not, or too little is known yet."""
        if not self.finished:
            return None
        seen = expectation(self._agreements, self._entropies)
        fall = (self._expected.agreement - seen.agreement) / np.hypot(
            self._expected.agreement_error, seen.agreement_error
        )
        shift = abs(self._expected.entropy - seen.entropy) / np.hypot(
            self._expected.entropy_error, seen.entropy_error
        )
        if fall <= FAR and (fall <= NEAR or shift <= FAR):
            return None
        return (
            f"on {COMPARED} pictures it agrees with the model before by {seen.agreement:.0%} and "
            f"has an entropy of {seen.entropy:.3f} nats, at the gate it was "
            f"{self._expected.agreement:.0%} and {self._expected.entropy:.3f}"
        )
