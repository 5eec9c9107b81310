"""Which labelled frames are worth training on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from patchline_ros.tasks import Sample
from patchline_ros.vision.inputs import device_of, make_batch
from patchline_ros.vision.model import TaskModel


def entropies(model: TaskModel, samples: Sequence[Sample], batch_size: int = 16) -> list[float]:
    """Mean entropy in nats of the model's outputs on each sample.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError(f"there is no {model.spec.task} sample to measure the entropy on")
    values: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch_size):
            chosen = samples[start : start + batch_size]
            images = make_batch(model.spec, chosen, device_of(model)).images
            values.extend(model.head.entropy(model(images)).tolist())
    return values


LEAST_KEPT = 0.5
"""Share of the labelled frames that the entropy filter leaves at least."""


def uncertain(
    values: Sequence[float], source_entropy: float, least: float = LEAST_KEPT
) -> list[int]:
    """Indices of the samples with H >= I_source, and at least the more uncertain half, in order.

    A sample on which the source model is surer than it is on source data has little to teach
    (paper, section 4.3; its 5.3 has it reversed). But a detector that sees nothing in the fog is
    very sure of it: by that rule alone no sample would be left, just where adapting matters most.

    Args:
        values: entropy of each sample.
        source_entropy: I_source.
        least: share of the samples that is kept at least; 0 is the paper's rule alone.

    Raises:
        ValueError: no samples, an entropy that is not finite, or no sample is left.
    """
    if not values:
        raise ValueError("there are no samples to choose from")
    if not math.isfinite(source_entropy):
        raise ValueError(f"the source entropy is {source_entropy}; measure it again on source data")
    bad = [i for i, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(values)} samples have an entropy that is not finite, the first "
            f"sample {bad[0]}: the model's outputs are broken"
        )
    falling = sorted(range(len(values)), key=lambda i: -values[i])
    kept = {i for i, value in enumerate(values) if value >= source_entropy}
    kept.update(falling[: math.ceil(least * len(values))])
    if not kept:
        raise ValueError(
            f"the entropy filter leaves none of {len(values)} samples: the highest entropy is "
            f"{max(values):.3g}, on source data it is {source_entropy:.3g} on average"
        )
    return sorted(kept)
