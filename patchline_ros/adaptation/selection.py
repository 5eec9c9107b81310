"""Which labelled frames are worth training on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from patchline_ros.tasks import Sample
from patchline_ros.vision.inputs import make_batch
from patchline_ros.vision.model import TaskModel


def entropies(model: TaskModel, samples: Sequence[Sample], batch_size: int = 16) -> list[float]:
    """Mean entropy in nats of the model's outputs on each sample."""
    values: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            images = make_batch(model.spec, samples[start : start + batch_size]).images
            values.extend(model.head.entropy(model(images)).tolist())
    return values


LEAST_KEPT = 0.5
"""Share of the labelled frames that the entropy filter leaves at least."""


def uncertain(values: Sequence[float], source_entropy: float) -> list[int]:
    """Indices of the samples with H >= I_source, and at least the more uncertain half, in order.

    A sample on which the source model is surer than it is on source data has little to teach
    (paper, section 4.3; its 5.3 has it reversed). But a detector that sees nothing in the fog is
    very sure of it: by that rule alone no sample would be left, just where adapting matters most.
    """
    least = math.ceil(LEAST_KEPT * len(values))
    falling = sorted(range(len(values)), key=lambda i: -values[i])
    kept = {i for i, value in enumerate(values) if value >= source_entropy} | set(falling[:least])
    return sorted(kept)
