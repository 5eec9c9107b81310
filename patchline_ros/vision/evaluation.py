"""What a model says about labelled samples, and how well that goes with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from patchline_ros.tasks import Label, Sample
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.inputs import device_of, make_batch, to_picture
from patchline_ros.vision.metrics import score
from patchline_ros.vision.model import ModelSpec


class Model(Protocol):
    """A source or a patched model."""

    spec: ModelSpec
    head: Head

    def __call__(self, images: Tensor) -> Any:
        """Raw outputs."""


@dataclass(frozen=True)
class ModelAnswers:
    """What a model says about some samples.

    Attributes:
        labels: in pixels of each sample's own picture.
        entropies: mean entropy of each picture's outputs, in nats.
    """

    labels: list[Label]
    entropies: list[float]


def answers(model: Model, samples: Sequence[Sample], batch_size: int = 16) -> ModelAnswers:
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
    return ModelAnswers(labels, entropies)


def evaluate(model: Model, samples: Sequence[Sample]) -> float:
    """The task's metric, 0..1, on labelled samples; the model must be in evaluation mode."""
    truth = [sample.label for sample in samples]
    found = answers(model, samples).labels
    return score(model.spec.task, len(model.spec.classes), found, truth)
