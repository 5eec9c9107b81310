"""Whether an adapted model may replace the running one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from patchline_ros.patching.patch_set import Expected
from patchline_ros.runtime.swap_monitor import expectation
from patchline_ros.tasks import Label, Sample
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.inputs import device_of, make_batch, to_picture
from patchline_ros.vision.metrics import score
from patchline_ros.vision.model import ModelSpec

MARGIN: Final = 0.005
"""Difference of the metric by which a candidate must be better, unless another is given."""
MOST_BLOCKS: Final = 10
"""Into which frames are divided to see how sure a difference is: as many more scores are needed."""


class Model(Protocol):
    """A source or a patched model."""

    spec: ModelSpec
    head: Head

    def __call__(self, images: Tensor) -> Any:
        """Raw outputs."""


@dataclass(frozen=True)
class Answers:
    """What a model says about some samples.

    Attributes:
        labels: in pixels of each sample's own picture.
        entropies: mean entropy of each picture's outputs, in nats.
    """

    labels: list[Label]
    entropies: list[float]


def answers(model: Model, samples: Sequence[Sample], batch_size: int = 16) -> Answers:
    """The model's answers, in the order of the samples; it must be in evaluation mode."""
    labels: list[Label] = []
    entropies: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            chosen = samples[start : start + batch_size]
            batch = make_batch(model.spec, chosen, device_of(model.head))
            raw = model(batch.images)
            entropies.extend(model.head.entropy(raw).tolist())
            labels.extend(
                to_picture(label, sample.image.shape[:2], model.spec.input_size)
                for label, sample in zip(model.head.decode(raw), chosen, strict=True)
            )
    return Answers(labels, entropies)


def evaluate(model: Model, samples: Sequence[Sample]) -> float:
    """The task's metric, 0..1, on labelled samples; the model must be in evaluation mode."""
    truth = [sample.label for sample in samples]
    found = answers(model, samples).labels
    return score(model.spec.task, len(model.spec.classes), found, truth)


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
    old, new = answers(running, samples), answers(candidate, samples)

    def metric(found: Sequence[Label], rows: Sequence[int]) -> float:
        chosen = [found[row] for row in rows]
        return score(spec.task, len(spec.classes), chosen, [truth[row] for row in rows])

    everyone = range(len(samples))
    blocks = np.array_split(np.arange(len(samples)), min(len(samples), MOST_BLOCKS))
    differences = []
    for block in blocks:
        rest = sorted(set(everyone) - set(block.tolist()))
        differences.append(metric(new.labels, rest) - metric(old.labels, rest))
    count = len(blocks)
    error = float(np.sqrt((count - 1) * np.var(differences)))
    alike = [agreement(*pair) for pair in zip(old.labels, new.labels, strict=True)]
    return Comparison(
        running=metric(old.labels, everyone),
        candidate=metric(new.labels, everyone),
        error=error,
        expected=expectation(alike, new.entropies),
    )
