"""Predicts without labels how much better one model is than another: the label-free gate.

Two models that agree are equally good, so the gain is predicted as their disagreement times a
linear function of what else is seen of them: how steady, how sure and how little uncertain each is.
The function is fitted, before the car leaves, to drifts whose labels are known. How wrong it is
drifts say whose corruption it was fitted without. Average confidence alone, the usual predictor,
knows less: a model that is lost can be very sure (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from patchline_ros.manifest import GatePoint
from patchline_ros.vision.evidence import Evidence

_RIDGE: Final = 0.01
"""Weight of the squared coefficients, of standardised inputs, beside the mean squared error."""
_LEAST_DISAGREEMENT: Final = 0.02
"""Share of the answers in which two models differ at least, for the error of a prediction."""

_Values = NDArray[np.float64]


class PredictedGain(BaseModel):
    """How much better a candidate is predicted to be than what runs, in the task's metric, 0..1."""

    model_config = ConfigDict(frozen=True)

    gain: float
    error: float
    """Root of the mean squared error of such predictions on drifts that were left out."""

    def accepted(self, margin: float) -> bool:
        """It is better by more than the margin and one error together, as a labelled gate asks."""
        return self.gain > margin + self.error

    def rank(self, margin: float) -> tuple[bool, float]:
        """Of several candidates the one with the highest rank answers: the best that is accepted.

        A higher gain that is less sure does not stand in the way of one that is.
        """
        return self.accepted(margin), self.gain


def _disagreement(evidence: Evidence) -> float:
    return 1 - evidence.agreement


def _inputs(evidence: Evidence) -> _Values:
    """What the disagreement is multiplied by, each with a coefficient."""
    e = evidence
    return np.array(
        [
            1.0,
            e.steadiness_after - e.steadiness_before,
            e.confidence_after - e.confidence_before,
            e.entropy_before - e.entropy_after,
            e.steadiness_before,
            e.confidence_before,
            e.entropy_before,
        ]
    )


class GainPredictor:
    """Fitted to some points of one task."""

    def __init__(self, points: Sequence[GatePoint]) -> None:
        """Fits it, and measures its error on each corruption by a fit to the others.

        Args:
            points: of two corruptions or more.

        Raises:
            ValueError: points of fewer corruptions.
        """
        names = np.array([point.corruption for point in points])
        if len(set(names)) < 2:
            raise ValueError(
                f"a label-free gate is fitted to drifts of two corruptions or more; the points are "
                f"of {', '.join(sorted(set(names))) or 'none'}"
            )
        apart = np.array([_disagreement(point.evidence) for point in points])
        inputs = apart[:, None] * np.array([_inputs(point.evidence) for point in points])
        gains = np.array([point.after - point.before for point in points])
        self._coefficients = _fitted(inputs, gains)
        self.held_out = np.zeros(len(points))
        """What a fit without its corruption says of each point."""
        for name in set(names):
            left_out = names == name
            coefficients = _fitted(inputs[~left_out], gains[~left_out])
            self.held_out[left_out] = inputs[left_out] @ coefficients
        self.true = gains
        """The true gain of each point."""
        unsure = apart + _LEAST_DISAGREEMENT
        self._error = float(np.sqrt(np.mean(((self.held_out - gains) / unsure) ** 2)))
        self.held_out_gains = [
            PredictedGain(gain=float(gain), error=float(error))
            for gain, error in zip(self.held_out, self._error * unsure, strict=True)
        ]
        """The same, with the error that stands beside each."""

    @property
    def held_out_error(self) -> float:
        """Root of the mean squared error on corruptions that it was fitted without."""
        return float(np.sqrt(np.mean((self.held_out - self.true) ** 2)))

    def predict(self, evidence: Evidence) -> PredictedGain:
        """How much better the candidate is; the less the two agree, the less is sure."""
        apart = _disagreement(evidence)
        return PredictedGain(
            gain=float(apart * _inputs(evidence) @ self._coefficients),
            error=self._error * (apart + _LEAST_DISAGREEMENT),
        )


def _fitted(inputs: _Values, gains: _Values) -> _Values:
    """Coefficients of least squares with a ridge on standardised inputs."""
    scale = inputs.std(axis=0) + 1e-9
    z = inputs / scale
    moments = z.T @ z + _RIDGE * len(z) * np.eye(z.shape[1])
    solution: _Values = np.linalg.solve(moments, z.T @ gains) / scale
    return solution
