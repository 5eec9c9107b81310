"""What can be seen without labels of a model that may take the place of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchline_ros.config_files import StrictModel
from patchline_ros.tasks import Image, Label, Sample, Task
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.evaluation import Model, ModelAnswers, answers
from patchline_ros.vision.inputs import flipped

_DARKER: Final = 0.7
"""Exposure of the second view of a picture that has one label, which must not be mirrored."""
_LEAST_ENTROPY: Final = 1e-4
"""In nats; where a model is surer than that, how much surer says nothing."""


class Evidence(StrictModel):
    """Of two models on the same pictures, as means over them."""

    agreement: float
    """Agreement of the two with each other, 0..1."""
    steadiness_before: float
    """Agreement of the running model's answers to two views of each picture, 0..1."""
    steadiness_after: float
    """The same of the candidate."""
    confidence_before: float
    """How sure the running model is of its answers, 0..1."""
    confidence_after: float
    """The same of the candidate."""
    entropy_before: float
    """Entropy of the running model's answers over that on source data, as a natural logarithm."""
    entropy_after: float
    """The same of the candidate."""


@dataclass(frozen=True)
class Look:
    """What one model says about some pictures.

    Attributes:
        found: its answers.
        steadiness: agreement of its answers to two views of each picture, 0..1.
    """

    found: ModelAnswers
    steadiness: list[float]

    @classmethod
    def at(cls, model: Model, images: Sequence[Image]) -> Look:
        """Asks a model in evaluation mode, twice for each of two or more pictures."""
        task = model.spec.task
        second = [_second_view(task, image) for image in images]
        found = answers(model, images)
        return cls(found, _steadiness(task, found, answers(model, second), second))


def agreements(running: Look, candidate: Look) -> list[float]:
    """Of two models with each other, on each picture, 0..1."""
    pairs = zip(running.found.labels, candidate.found.labels, strict=True)
    return [agreement(one, other) for one, other in pairs]


@dataclass(frozen=True)
class Seen:
    """What is seen of two models on each of the same pictures.

    Attributes:
        agreements: of the two with each other, 0..1.
        running: the model that runs.
        candidate: the model that may take its place.
        source_entropy: I_source, in nats.
    """

    agreements: list[float]
    running: Look
    candidate: Look
    source_entropy: float

    @classmethod
    def of(cls, running: Look, candidate: Look, source_entropy: float) -> Seen:
        """Compares their answers."""
        return cls(agreements(running, candidate), running, candidate, source_entropy)

    def evidence(self, rows: Sequence[int] | None = None) -> Evidence:
        """The means over some of the pictures; None: over all."""
        rows = range(len(self.agreements)) if rows is None else rows

        def mean(values: Sequence[float]) -> float:
            return float(np.mean([values[row] for row in rows]))

        def relative(entropies: Sequence[float]) -> float:
            entropy = max(mean(entropies), _LEAST_ENTROPY)
            return float(np.log(entropy / max(self.source_entropy, _LEAST_ENTROPY)))

        before, after = self.running, self.candidate
        return Evidence(
            agreement=mean(self.agreements),
            steadiness_before=mean(before.steadiness),
            steadiness_after=mean(after.steadiness),
            confidence_before=mean(before.found.confidences),
            confidence_after=mean(after.found.confidences),
            entropy_before=relative(before.found.entropies),
            entropy_after=relative(after.found.entropies),
        )


def evidence(running: Look, candidate: Look, source_entropy: float) -> Evidence:
    """What is seen of two models on the same pictures; the arguments are those of `Seen.of`."""
    return Seen.of(running, candidate, source_entropy).evidence()


def _second_view(task: Task, image: Image) -> Image:
    if task.traits.one_label:
        return (image * np.float32(_DARKER)).astype(np.uint8)
    return np.ascontiguousarray(image[:, ::-1])


def _steadiness(
    task: Task, found: ModelAnswers, of_second: ModelAnswers, second: Sequence[Image]
) -> list[float]:
    """How alike the answers are once those to the second view are seen as the first one is."""
    return [
        agreement(label, _as_first_view(task, again, image))
        for label, again, image in zip(found.labels, of_second.labels, second, strict=True)
    ]


def _as_first_view(task: Task, label: Label, second: Image) -> Label:
    return label if task.traits.one_label else flipped(Sample(second, label)).label
