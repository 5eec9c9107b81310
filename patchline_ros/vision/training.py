"""Trains source models through Lightning Fabric, and the schedule that adaptation shares.

One process or several, on a CPU or on GPUs: the same lines. Of several processes each trains on its
share of every batch and all hold the same weights; the first one alone reads and writes files.
Norms take their statistics over the whole batch on GPUs (SyncBatchNorm), as one process does. On
CPUs, for which PyTorch has no such norm, each process takes those of its share, and the model gets
the running statistics of the first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from patchline_ros.tasks import Boxes, Image, Sample, Task
from patchline_ros.vision.augmentation import draw_view
from patchline_ros.vision.checkpoint import (
    Checkpoint,
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from patchline_ros.vision.fabric import training_fabric
from patchline_ros.vision.inputs import make_batch, resized
from patchline_ros.vision.model import ModelSpec, TaskModel

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DrawChange = Callable[[np.random.Generator], Callable[[Image], Image]]
"""Draws a change that a picture undergoes before it is seen in a view. Its `str` says which changes
it draws."""

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints of a source training: what a kill costs at most."""


class SourceStep(NamedTuple):
    """A step of a source training."""

    share: float
    """Share of the steps that are done with it, 0..1."""
    number: int
    """Number of the step, from 1 on."""
    loss: Tensor
    """Mean over the batch, or over this process's share of it."""
    learning_rate: float


def one_cycle(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Short linear warm-up, then a cosine down to zero; to be stepped once a batch."""
    peaks = [group["lr"] for group in optimiser.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=peaks, total_steps=steps, pct_start=0.15, div_factor=10
    )


def _averaged(model: TaskModel, decay: float) -> AveragedModel:
    """A moving average of weights and norm statistics.

    Of n steps it never looks back further than about n / 9, so that a short training is not
    averaged with its random start.
    """

    def update(averaged: PARAM_LIST, current: PARAM_LIST, steps: Tensor | int) -> None:
        n = int(steps)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, steps)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


class _SourceTraining:
    """A training between two batches."""

    def __init__(
        self,
        model: TaskModel,
        samples: list[Sample],
        epochs: int,
        batch_size: int,
        learning_rate: float,
        ema: float,
        draw_change: DrawChange | None,
        rng: np.random.Generator,
        fabric: Fabric,
    ) -> None:
        self._draw_change = draw_change
        self._samples, self._batch_size, self._rng = samples, batch_size, rng
        self._fabric = fabric
        if fabric.device.type == "cuda" and fabric.world_size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
        self._batches = len(samples) // batch_size
        self.steps = epochs * self._batches
        self._schedule = one_cycle(self._optimiser, self.steps)
        self.model = model
        self._module, self._stepper = fabric.setup(model, self._optimiser)
        self._average = _averaged(model, ema) if ema else None
        self.done = 0
        self._order = np.arange(len(samples))
        self._module.train()

    def step(self) -> SourceStep:
        """Trains on the next batch."""
        rate = self._optimiser.param_groups[0]["lr"]
        spec = self.model.spec
        images, targets = make_batch(spec, self._next_samples(), self._fabric.device)
        loss: Tensor = self.model.head.loss(self._module(images), targets)
        self._optimiser.zero_grad()
        self._fabric.backward(loss)
        # Gradients of 16 bit may overflow: the step is left out then, and their scale lowered.
        self._fabric.clip_gradients(
            self._module, self._stepper, max_norm=5.0, error_if_nonfinite=False
        )
        self._stepper.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.model)
        self.done += 1
        if self.done % self._batches == 0:
            self._check_weights(rate)
        return SourceStep(self.done / self.steps, self.done, loss.detach(), rate)

    def _check_weights(self, rate: float) -> None:
        """Once an epoch: nothing comes of weights that are not finite."""
        if not all(torch.isfinite(weights).all() for weights in self.model.parameters()):
            raise ValueError(
                f"the training for {self.model.spec.task} went wrong at a learning rate of "
                f"{rate:g}: its weights are not finite any more; give a lower learning_rate"
            )

    def _next_samples(self) -> list[Sample]:
        """This process's share of the next batch, in views that are drawn for all processes."""
        batch = self.done % self._batches
        if batch == 0:
            self._order = self._rng.permutation(len(self._samples))
        places = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        chosen = [self._samples[place] for place in places]
        task = self.model.spec.task
        views = [draw_view(task, sample.image.shape[:2], self._rng) for sample in chosen]
        share = slice(self._fabric.global_rank, None, self._fabric.world_size)
        changed = self._changed(chosen, share)
        return [view.of(sample) for view, sample in zip(views[share], changed, strict=True)]

    def _changed(self, chosen: list[Sample], share: slice) -> list[Sample]:
        """This process's share of the samples after changes that are drawn for all processes."""
        if self._draw_change is None:
            return chosen[share]
        changes = [self._draw_change(self._rng) for _ in chosen]
        pairs = zip(changes[share], chosen[share], strict=True)
        return [Sample(change(sample.image), sample.label) for change, sample in pairs]

    def finished(self) -> TaskModel:
        """A copy of the trained model, or of its average, in evaluation mode on the CPU."""
        trained = self._average.module if self._average is not None else self.model
        state = {name: value.cpu() for name, value in trained.state_dict().items()}
        statistics = state.keys() - dict(trained.named_parameters()).keys()
        # Gradients that are averaged keep the weights equal in all processes, and only those.
        state |= self._fabric.broadcast({name: state[name] for name in sorted(statistics)})
        model = TaskModel(self.model.spec)
        model.load_state_dict(state)
        return model.eval()

    def checkpoint(self) -> Checkpoint:
        """Everything that the next batch depends on; the same for each number of processes."""
        average = self._average.state_dict() if self._average is not None else {}
        return Checkpoint(
            tensors={
                **_named("model", self.model.state_dict()),
                **_named("average", average),
                **optimiser_tensors(self._optimiser),
                "order": torch.from_numpy(self._order),
                "dropout": _dropout_state(self._fabric.device),
            },
            facts={
                "done": self.done,
                "groups": self._optimiser.state_dict()["param_groups"],
                "precision": self._fabric.strategy.precision.state_dict(),
                "rng": self._rng.bit_generator.state,
            },
        )

    def resume(self, kept: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        restore_optimiser(self._optimiser, kept.tensors, kept.facts["groups"])
        self.done = self._schedule.last_epoch = kept.facts["done"]
        self.model.load_state_dict(_under("model", kept.tensors))
        if self._average is not None:
            self._average.load_state_dict(_under("average", kept.tensors))
        self._fabric.strategy.precision.load_state_dict(kept.facts["precision"])
        self._order = kept.tensors["order"].numpy()
        _set_dropout_state(self._fabric.device, kept.tensors["dropout"])
        self._rng.bit_generator.state = kept.facts["rng"]


def _named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _dropout_state(device: torch.device) -> Tensor:
    """State of the generator that drops out on this device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_dropout_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


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


def _check_batch(task: Task, samples: int, batch_size: int, processes: int) -> None:
    if samples < batch_size:
        raise ValueError(f"{samples} {task} samples are fewer than one batch of {batch_size}")
    if batch_size % processes or batch_size < 2 * processes:
        raise ValueError(
            f"a batch of {batch_size} can't be shared by {processes} processes; give a batch_size "
            f"that is a multiple of {processes} and at least {2 * processes}"
        )


def _first_model(
    spec: ModelSpec,
    weights: dict[str, torch.Tensor] | None,
    backbone: dict[str, torch.Tensor] | None,
    seed: int,
) -> TaskModel:
    """What a training starts from; the draws after it go on from the same seed."""
    torch.manual_seed(seed)
    model = TaskModel(spec, weights)
    if backbone is not None:
        model.backbone.load_state_dict(backbone)
    return model


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
    ema: float = 0.0,
    draw_change: DrawChange | None = None,
    checkpoint: Path | None = None,
    fabric: Fabric | None = None,
) -> Iterator[tuple[SourceStep, TaskModel]]:
    """Trains a source model; yields (step, model) after each batch, once at least.

    The model of the last step is the finished one, on the CPU and in evaluation mode.

    Args:
        spec: what to build.
        samples: training data; resized once, augmented anew in each epoch.
        weights: torchvision state dict to start from, or None.
        backbone: state dict of a trained grouped backbone to start from, or None.
        epochs, batch_size, learning_rate: of AdamW with a one-cycle schedule; a batch is shared by
            all processes.
        seed: of weights, order and augmentation.
        ema: decay of a moving average of the weights, which is the finished model then; 0: none.
        draw_change: of pictures, before they are augmented; None: they stay as they are.
        checkpoint: file that is written now and then, and gone on from with the same result.
        fabric: of `training_fabric`; None: this process alone, on the CPU with 32 bit.

    Raises:
        ModuleNotFoundError: lightning-fabric is not installed.
        ValueError: fewer samples than one batch, a batch that can't be shared, weights that do not
            fit or became infinite, or a checkpoint of another training.
    """
    fabric = fabric or training_fabric()
    _check_batch(spec.task, len(samples), batch_size, fabric.world_size)
    model = _first_model(spec, weights, backbone, seed)
    small = [resized(sample, spec.input_size) for sample in samples]
    path = checkpoint if fabric.is_global_zero else None
    precision = fabric.strategy.precision.precision
    settings = f"{epochs} {batch_size} {learning_rate} {seed} {ema} {precision} {draw_change}"
    key = _key(model, small, settings) if path else ""
    kept = fabric.broadcast(read_checkpoint(path, key) if path else None)
    rng = np.random.default_rng(seed)
    training = _SourceTraining(
        model, small, epochs, batch_size, learning_rate, ema, draw_change, rng, fabric
    )
    if kept is not None:
        training.resume(kept)
    written = time.monotonic()
    while training.done < training.steps:
        step = training.step()
        last = training.done == training.steps
        if path and not last and time.monotonic() - written > CHECKPOINT_SECONDS:
            write_checkpoint(path, key, training.checkpoint())
            written = time.monotonic()
        yield step, training.finished() if last else training.model
