"""Whether an adapted model may replace the running one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from patchline_ros.tasks import Label, Sample
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.inputs import device_of, make_batch, to_picture
from patchline_ros.vision.metrics import score
from patchline_ros.vision.model import ModelSpec

MOST_BLOCKS: Final = 10
"""Into which frames are divided to see how sure a difference is: as many more scores are needed."""


class Model(Protocol):
    """A source or a patched model."""

    spec: ModelSpec
    head: Head

    def __call__(self, images: Tensor) -> Any:
        """Raw outputs."""


def predictions(model: Model, samples: Sequence[Sample], batch_size: int = 16) -> list[Label]:
    """Results in pixels of each sample's own picture."""
    results: list[Label] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            chosen = samples[start : start + batch_size]
            batch = make_batch(model.spec, chosen, device_of(model.head))
            decoded = model.head.decode(model(batch.images))
            results.extend(
                to_picture(label, sample.image.shape[:2], model.spec.input_size)
                for label, sample in zip(decoded, chosen, strict=True)
            )
    return results


def evaluate(model: Model, samples: Sequence[Sample]) -> float:
    """The task's metric, 0..1, on labelled samples; the model must be in evaluation mode."""
    truth = [sample.label for sample in samples]
    return score(model.spec.task, len(model.spec.classes), predictions(model, samples), truth)


def accepts(running: float, candidate: float, margin: float) -> bool:
    """A candidate must beat the running model by more than the margin, both on the same frames."""
    return candidate > running + margin


@dataclass(frozen=True)
class Comparison:
    """Two models on the same frames.

    Attributes:
        running, candidate: the task's metric, 0..1.
        error: standard error of their difference.
    """

    running: float
    candidate: float
    error: float

    def accepted(self, margin: float) -> bool:
        """The candidate is better by more than the margin and one standard error together."""
        return accepts(self.running, self.candidate, margin + self.error)


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
    of_running, of_candidate = predictions(running, samples), predictions(candidate, samples)

    def metric(found: Sequence[Label], rows: Sequence[int]) -> float:
        chosen = [found[row] for row in rows]
        return score(spec.task, len(spec.classes), chosen, [truth[row] for row in rows])

    everyone = range(len(samples))
    blocks = np.array_split(np.arange(len(samples)), min(len(samples), MOST_BLOCKS))
    differences = []
    for block in blocks:
        rest = sorted(set(everyone) - set(block.tolist()))
        differences.append(metric(of_candidate, rest) - metric(of_running, rest))
    count = len(blocks)
    error = float(np.sqrt((count - 1) * np.var(differences)))
    return Comparison(metric(of_running, everyone), metric(of_candidate, everyone), error)
