"""What source training and adaptation share: augmentation, batches in a seeded order, schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import nn

from patchline_ros.tasks import Boxes, Image, Sample, Task
from patchline_ros.vision.inputs import Batch, flipped, make_batch, resized
from patchline_ros.vision.model import ModelSpec, TaskModel


def jittered(image: Image, rng: np.random.Generator) -> Image:
    """The picture with another exposure and contrast, as a camera's automatics would give."""
    gain = rng.uniform(0.75, 1.25)
    offset = rng.uniform(-20, 20)
    return cv2.convertScaleAbs(np.maximum(image * gain + offset, 0).astype(np.float32))


def shifted(sample: Sample, rng: np.random.Generator) -> Sample:
    """A sign seen a little nearer or further, turned and off centre; the border is repeated."""
    height, width = sample.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), float(rng.uniform(-8, 8)), float(rng.uniform(0.85, 1.2))
    )
    matrix[:, 2] += rng.uniform(-0.08, 0.08, size=2) * (width, height)
    image = cv2.warpAffine(sample.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return Sample(image, sample.label)


def zoomed(sample: Sample, rng: np.random.Generator) -> Sample:
    """A road picture cut to a random window of at least 60% of each side, at the same size."""
    height, width = sample.image.shape[:2]
    share = rng.uniform(0.6, 1.0)
    cut_height, cut_width = int(height * share), int(width * share)
    top = int(rng.integers(0, height - cut_height + 1))
    left = int(rng.integers(0, width - cut_width + 1))
    window = np.s_[top : top + cut_height, left : left + cut_width]
    image = cv2.resize(sample.image[window], (width, height), interpolation=cv2.INTER_LINEAR)
    label = sample.label
    if isinstance(label, Boxes):
        boxes = (label.boxes - (left, top, left, top)) / share
        clipped = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
        whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        visible = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
        keep = visible > 0.4 * whole
        return Sample(image, Boxes(clipped[keep], label.labels[keep], label.scores[keep]))
    if isinstance(label, np.ndarray):
        label = cv2.resize(label[window], (width, height), interpolation=cv2.INTER_NEAREST)
    return Sample(image, label)


def augmented(task: Task, sample: Sample, rng: np.random.Generator) -> Sample:
    """One random view of a sample, with the label moved along."""
    if task is Task.SIGNS:
        sample = shifted(sample, rng)
    else:
        if rng.random() < 0.5:
            sample = flipped(sample)
        sample = zoomed(sample, rng)
    return Sample(jittered(sample.image, rng), sample.label)


def one_cycle(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Short linear warm-up, then a cosine down to zero; to be stepped once a batch."""
    peaks = [group["lr"] for group in optimiser.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=peaks, total_steps=steps, pct_start=0.15, div_factor=10
    )


def train_source(
    spec: ModelSpec,
    samples: Sequence[Sample],
    *,
    weights: dict[str, torch.Tensor] | None,
    backbone: dict[str, torch.Tensor] | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> Iterator[tuple[float, TaskModel]]:
    """Trains a source model; yields (share done, model) after each batch.

    Args:
        spec: what to build.
        samples: training data; resized once, augmented anew in each epoch.
        weights: torchvision state dict to start from, or None.
        backbone: state dict of a trained grouped backbone to start from, or None.
        epochs, batch_size, learning_rate: of AdamW with a one-cycle schedule.
        seed: of weights, order and augmentation.

    Raises:
        ValueError: fewer samples than one batch, or weights that do not fit.
    """
    if len(samples) < batch_size:
        raise ValueError(
            f"{len(samples)} {spec.task} samples are fewer than one batch of {batch_size}"
        )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = TaskModel(spec, weights)
    if backbone is not None:
        model.backbone.load_state_dict(backbone)
    small = [resized(sample, spec.input_size) for sample in samples]
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
    batches = len(small) // batch_size
    schedule = one_cycle(optimiser, epochs * batches)
    model.train()
    for epoch in range(epochs):
        order = rng.permutation(len(small))
        for i in range(batches):
            chosen = [
                augmented(spec.task, small[j], rng)
                for j in order[i * batch_size : (i + 1) * batch_size]
            ]
            batch: Batch = make_batch(spec, chosen)
            loss = model.head.loss(model(batch.images), batch.targets)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            yield (epoch * batches + i + 1) / (epochs * batches), model
    model.eval()
