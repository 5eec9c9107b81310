"""Whether an adapted model may replace the running one."""

from __future__ import annotations

from collections.abc import Sequence
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
