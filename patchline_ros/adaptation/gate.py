"""Whether an adapted model may replace the running one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchline_ros.patching.expected import Expected, expectation
from patchline_ros.tasks import Label, Sample
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.evaluation import Model, answers
from patchline_ros.vision.metrics import score

MARGIN: Final = 0.005
"""Difference of the metric by which a candidate must be better, unless another is given."""
MOST_BLOCKS: Final = 10
"""Into which frames are divided to see how sure a difference is: as many more scores are needed."""


def accepts(running: float, candidate: float, margin: float) -> bool:
    """A candidate must beat the running model by more than the margin, both on the same frames."""
    return candidate > running + margin


@dataclass(frozen=True)
class Comparison:
    """Two models on the same frames.

    Attributes:
        running, candidate: the task's metric, 0..1.
        error: standard error of their difference.
        expected: what is to be seen of the candidate after a swap.
    """

    running: float
    candidate: float
    error: float
    expected: Expected

    def accepted(self, margin: float) -> bool:
        """The candidate is better by more than the margin and one standard error together."""
        return accepts(self.running, self.candidate, margin + self.error)


@dataclass(frozen=True)
class EarlierGain:
    """How much better a model was than the running one on frames of an earlier visit to a drift.

    Attributes:
        gain: difference of the task's metric, 0..1.
        error: its standard error.
        frames: that it was measured on.
    """

    gain: float
    error: float
    frames: int

    def error_on(self, frames: int) -> float:
        """Standard error of such a difference on so many frames, which falls with their root."""
        return self.error * (self.frames / frames) ** 0.5

    def holds(self, found: Comparison, frames: int, margin: float) -> bool:
        """Whether the frames of both visits together say that the model is surely better.

        A few frames of now say little alone. Where they contradict those of then, by more than two
        standard errors of the difference, the drift is another one, and they decide alone.

        Args:
            found: the two models on frames of now.
            frames: how many these are.
            margin: by which the model has to be better.
        """
        gain = found.candidate - found.running
        if gain < self.gain - 2 * math.hypot(self.error, self.error_on(frames)):
            return found.accepted(margin)
        together = (self.frames * self.gain + frames * gain) / (self.frames + frames)
        return together > margin + self.error_on(self.frames + frames)


def without_each_block(count: int) -> list[list[int]]:
    """The places of so many frames without one block of neighbours after the other."""
    blocks = np.array_split(np.arange(count), min(count, MOST_BLOCKS))
    return [sorted(set(range(count)) - set(block.tolist())) for block in blocks]


def jackknife_error(values: Sequence[float]) -> float:
    """Standard error of a figure that has these values without one block after the other."""
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def compare(running: Model, candidate: Model, samples: Sequence[Sample]) -> Comparison:
    """Scores both, and says how much of the difference could be chance.

    The error is that of the jackknife that leaves out one block of neighbouring frames after the
    other (Efron and Tibshirani 1993, chapter 11): frames of one moment are alike, and a metric such
    as mAP is no mean over frames.

    Args:
        running, candidate: in evaluation mode.
        samples: two or more labelled frames, in the order of time.
    """
    spec, truth = candidate.spec, [sample.label for sample in samples]
    images = [sample.image for sample in samples]
    old, new = answers(running, images), answers(candidate, images)

    def metric(found: Sequence[Label], rows: Sequence[int]) -> float:
        chosen = [found[row] for row in rows]
        return score(spec.task, len(spec.classes), chosen, [truth[row] for row in rows])

    everyone = range(len(samples))
    error = jackknife_error(
        [
            metric(new.labels, rest) - metric(old.labels, rest)
            for rest in without_each_block(len(samples))
        ]
    )
    alike = [agreement(*pair) for pair in zip(old.labels, new.labels, strict=True)]
    return Comparison(
        running=metric(old.labels, everyone),
        candidate=metric(new.labels, everyone),
        error=error,
        expected=expectation(alike, new.entropies),
    )
