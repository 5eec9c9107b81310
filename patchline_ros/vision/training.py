"""What source training and adaptation share: augmentation, batches in a seeded order, schedule."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from patchline_ros.tasks import Boxes, Image, Sample, Task
from patchline_ros.vision.checkpoint import (
    Checkpoint,
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from patchline_ros.vision.inputs import flipped, make_batch, resized
from patchline_ros.vision.model import ModelSpec, TaskModel

CHECKPOINT_SECONDS = 30.0
"""Between two checkpoints of a source training: what a kill costs at most."""


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


class _SourceTraining:
    """A training between two batches."""

    def __init__(
        self,
        model: TaskModel,
        samples: list[Sample],
        epochs: int,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        self.model, self._samples, self._batch_size, self._rng = model, samples, batch_size, rng
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
        self._batches = len(samples) // batch_size
        self.steps = epochs * self._batches
        self._schedule = one_cycle(self._optimiser, self.steps)
        self.done = 0
        self._order = np.arange(len(samples))
        model.train()

    def step(self) -> None:
        """Trains on the next batch."""
        batch = self.done % self._batches
        if batch == 0:
            self._order = self._rng.permutation(len(self._samples))
        places = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        spec = self.model.spec
        chosen = [augmented(spec.task, self._samples[place], self._rng) for place in places]
        images, targets = make_batch(spec, chosen)
        loss = self.model.head.loss(self.model(images), targets)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self._optimiser.step()
        self._schedule.step()
        self.done += 1

    def checkpoint(self) -> Checkpoint:
        """Everything that the next batch depends on."""
        return Checkpoint(
            tensors={
                **{f"model.{name}": value for name, value in self.model.state_dict().items()},
                **optimiser_tensors(self._optimiser),
                "order": torch.from_numpy(self._order),
                "dropout": torch.get_rng_state(),
            },
            facts={
                "done": self.done,
                "groups": self._optimiser.state_dict()["param_groups"],
                "rng": self._rng.bit_generator.state,
            },
        )

    def resume(self, kept: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        restore_optimiser(self._optimiser, kept.tensors, kept.facts["groups"])
        self.done = self._schedule.last_epoch = kept.facts["done"]
        self.model.load_state_dict(
            {
                name.removeprefix("model."): value
                for name, value in kept.tensors.items()
                if name.startswith("model.")
            }
        )
        self._order = kept.tensors["order"].numpy()
        torch.set_rng_state(kept.tensors["dropout"])
        self._rng.bit_generator.state = kept.facts["rng"]


def sample_bytes(sample: Sample) -> bytes:
    """Picture and label."""
    label = sample.label
    parts = (label.boxes, label.labels) if isinstance(label, Boxes) else (np.asarray(label),)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in (sample.image, *parts))


def _key(model: TaskModel, samples: Sequence[Sample], settings: str) -> str:
    """Tells this training from any other: first weights, pictures, labels and settings."""
    digest = hashlib.sha256(f"{model.spec.model_dump_json()} {settings}".encode())
    for value in model.state_dict().values():
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for sample in samples:
        digest.update(sample_bytes(sample))
    return digest.hexdigest()


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
    checkpoint: Path | None = None,
) -> Iterator[tuple[float, TaskModel]]:
    """Trains a source model; yields (share done, model) after each batch, once at least.

    Args:
        spec: what to build.
        samples: training data; resized once, augmented anew in each epoch.
        weights: torchvision state dict to start from, or None.
        backbone: state dict of a trained grouped backbone to start from, or None.
        epochs, batch_size, learning_rate: of AdamW with a one-cycle schedule.
        seed: of weights, order and augmentation.
        checkpoint: file that is written now and then, and gone on from where it is there, with the
            same result as without a pause.

    Raises:
        ValueError: fewer samples than one batch, weights that do not fit, or a checkpoint of
            another training.
    """
    if len(samples) < batch_size:
        raise ValueError(
            f"{len(samples)} {spec.task} samples are fewer than one batch of {batch_size}"
        )
    torch.manual_seed(seed)
    model = TaskModel(spec, weights)
    if backbone is not None:
        model.backbone.load_state_dict(backbone)
    small = [resized(sample, spec.input_size) for sample in samples]
    rng = np.random.default_rng(seed)
    training = _SourceTraining(model, small, epochs, batch_size, learning_rate, rng)
    settings = f"{epochs} {batch_size} {learning_rate} {seed}"
    key = _key(model, small, settings) if checkpoint else ""
    kept = read_checkpoint(checkpoint, key) if checkpoint else None
    if kept is not None:
        training.resume(kept)
    if training.done == training.steps:
        yield 1.0, model
    written = time.monotonic()
    while training.done < training.steps:
        training.step()
        if checkpoint is not None and time.monotonic() - written > CHECKPOINT_SECONDS:
            write_checkpoint(checkpoint, key, training.checkpoint())
            written = time.monotonic()
        yield training.done / training.steps, model
    model.eval()
