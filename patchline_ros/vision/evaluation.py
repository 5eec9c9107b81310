"""What a model says about pictures, and how well that goes with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from patchline_ros.tasks import Image, Label, Sample
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.inputs import device_of, image_batches, to_picture
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
    """What a model says about some pictures.

    Attributes:
        labels: in pixels of each picture as it was given.
        entropies: mean entropy of each picture's outputs, in nats.
        confidences: how sure the model is of each picture's result, 0..1.
    """

    labels: list[Label]
    entropies: list[float]
    confidences: list[float]


def answers(model: Model, images: Sequence[Image], batch_size: int = 16) -> ModelAnswers:
    """The model's answers, in the order of the pictures; it must be in evaluation mode."""
    found = ModelAnswers([], [], [])
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            chosen = images[start : start + batch_size]
            [batch] = image_batches(model.spec, chosen, batch_size, device_of(model.head))
            read = model.head.read(model(batch))
            found.entropies.extend(read.entropies.tolist())
            found.confidences.extend(read.confidences.tolist())
            found.labels.extend(
                to_picture(label, image.shape[:2], model.spec.input_size)
                for label, image in zip(read.labels, chosen, strict=True)
            )
    return found


def evaluate(model: Model, samples: Sequence[Sample]) -> float:
    """The task's metric, 0..1, on labelled samples; the model must be in evaluation mode."""
    truth = [sample.label for sample in samples]
    found = answers(model, [sample.image for sample in samples]).labels
    return score(model.spec.task, len(model.spec.classes), found, truth)
