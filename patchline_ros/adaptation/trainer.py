"""Trains one adapted model on a few labelled frames; every method goes through here.

The frozen part is computed once for each view of each frame and kept; every epoch after that runs
the trained part alone. After each epoch the held-out frames are scored, and the best state is kept.
The first state of all counts too: re-estimated norm statistics and nothing trained. With few
frames and many classes that can be the best one. Of equal states the earliest is kept.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from patchline_ros.adaptation.crops import crop_batch, draw_window
from patchline_ros.adaptation.norm_statistics import reestimate
from patchline_ros.adaptation.objective import FromLabels, Objective
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.adaptation.views import KeptViews, Views, views_of
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel, Part
from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Image, Label, Sample
from patchline_ros.vision.checkpoint import (
    Checkpoint,
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.inputs import resized
from patchline_ros.vision.metrics import score
from patchline_ros.vision.training import one_cycle


class TrainingError(ValueError):
    """These frames can't be trained on; the message says why in one sentence."""


def _batches(order: list[int], size: int) -> list[list[int]]:
    """The order in batches; a last one of a single view, which no batch norm takes, is joined."""
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def _check(
    model: AdaptedModel,
    samples: Sequence[Sample],
    views: int,
    settings: TrainingSettings,
    objective: Objective,
) -> None:
    task = model.spec.task
    if not samples:
        raise TrainingError(f"no labelled frames are left to train {task} on")
    if task.traits.one_label and objective.reads_labels:
        labels = [sample.label for sample in samples]
        classes = {int(label) for label in labels if isinstance(label, int | np.integer)}
        if len(classes) == 1:
            only = model.spec.classes[classes.pop()]
            raise TrainingError(
                f"all {len(samples)} pictures are of the class {only!r}: a classifier that is "
                "trained on one class forgets the others; label at least two classes"
            )
    modules = [module for trained in model.trained_modules() for module in trained.modules()]
    if views == 1 and any(isinstance(module, _BatchNorm) for module in modules):
        raise TrainingError(f"batch norm can't be trained on one frame; label more {task}")
    if settings.crops_of(task) and not model.head.takes_crops:
        raise TrainingError(
            f"the head {model.spec.head} of {task} can't be trained on crops; train on whole "
            "frames (crops: 0)"
        )


class _Run:
    """One training: what changes from epoch to epoch."""

    def __init__(
        self,
        model: AdaptedModel,
        train: KeptViews,
        validation: KeptViews | None,
        labels: Sequence[Label],
        settings: TrainingSettings,
        seed: int,
        record: TrainingRecord,
        objective: Objective,
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.objective = objective
        self.labels, self.settings, self.record = labels, settings, record
        traits = model.spec.task.traits
        rates: dict[Part, float] = {
            "adapter": traits.adapter_rate,
            "head": traits.head_rate,
            "backbone": traits.backbone_rate,
        }
        self.optimiser = torch.optim.AdamW(
            [
                {"params": parameters, "lr": rates[part] * settings.rate}
                for part, parameters in model.trained_parameters().items()
            ],
            weight_decay=1e-2,
        )
        self.crops = settings.crops_of(model.spec.task)
        self.seen = len(train.targets) * max(1, self.crops)
        batches = len(_batches(list(range(self.seen)), settings.batch_size))
        self.schedule = one_cycle(self.optimiser, settings.epochs * batches)
        self.generator = torch.Generator().manual_seed(seed)
        # Counting slows every operation down: each kind of pass is counted once.
        self.gflops_per_view: float | None = None
        self.validation_gflops_per_view: float | None = None
        self.best = self._state()

    def _state(self) -> dict[str, Tensor]:
        """A copy of all that training changes."""
        state = self.model.adapted_state("reestimated")
        return {name: value.detach().clone() for name, value in state.items()}

    def validate(self) -> None:
        """Scores the held-out frames and keeps the state when it is the best so far."""
        if self.validation is None:
            self.record.best_epoch = len(self.record.losses)
            return
        self.model.eval()
        found = self._decoded(self.validation)
        metric = score(self.model.spec.task, len(self.model.spec.classes), found, self.labels)
        if not self.record.metrics or metric > max(self.record.metrics):
            self.best, self.record.best_epoch = self._state(), len(self.record.losses)
        self.record.metrics.append(metric)

    def _decoded(self, validation: KeptViews) -> list[Label]:
        found: list[Label] = []
        everyone = range(len(self.labels))
        with torch.no_grad():
            for start in range(0, len(everyone), self.settings.batch_size):
                chosen = everyone[start : start + self.settings.batch_size]
                part, _ = validation.batch(chosen)
                found.extend(self._decode(part, len(chosen)))
        return found

    def _decode(self, frozen: list[Tensor], count: int) -> list[Label]:
        """What the model says of so many views; their frozen part is counted where it is made."""
        if self.validation_gflops_per_view is None:
            with FlopCounter() as flops:
                found = self.model.head.decode(self.model.trained_part(frozen))
            self.validation_gflops_per_view = flops.total / 1e9 / count
        else:
            found = self.model.head.decode(self.model.trained_part(frozen))
        self.record.spend("validation", self.validation_gflops_per_view * count)
        return found

    def epoch(self) -> None:
        """One pass over all views, or crops of them, in a new order."""
        self.model.train()
        order = torch.randperm(self.seen, generator=self.generator) % len(self.train.targets)
        total = 0.0
        for chosen in _batches(order.tolist(), self.settings.batch_size):
            total += self._step(chosen) * len(chosen)
        self.record.losses.append(total / self.seen)

    def _batch(self, chosen: list[int]) -> tuple[list[Tensor], Any]:
        """What a step sees."""
        frozen, targets = self.train.batch(chosen)
        if not self.crops:
            return frozen, targets
        size, stride = self.model.spec.input_size, self.model.backbone.reductions[-1]
        windows = [draw_window(size, stride, self.generator) for _ in chosen]
        return crop_batch(frozen, targets, windows, size)

    def _step(self, chosen: list[int]) -> float:
        frozen, targets = self._batch(chosen)
        self.optimiser.zero_grad()
        if self.gflops_per_view is None:
            with FlopCounter() as flops:
                loss = self._backward(frozen, targets)
            self.gflops_per_view = flops.total / 1e9 / len(chosen)
        else:
            loss = self._backward(frozen, targets)
        self.record.spend("training", self.gflops_per_view * len(chosen))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss of {self.model.spec.task} became {float(loss.detach())} in epoch "
                f"{len(self.record.losses) + 1}; look for broken labels or weights"
            )
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.schedule.step()
        self.objective.stepped(self.model)
        return float(loss.detach())

    def _backward(self, frozen: list[Tensor], targets: Any) -> Tensor:
        loss = self.objective.loss(self.model, frozen, targets)
        loss.backward()
        return loss

    @property
    def finished(self) -> bool:
        """All epochs are done, or nothing has got better for too long."""
        done = len(self.record.losses)
        patience = self.settings.patience
        stale = patience is not None and self.validation is not None
        return done >= self.settings.epochs or (
            stale and done - self.record.best_epoch >= (patience or 0)
        )

    def checkpoint(self) -> Checkpoint:
        """Everything that the next epoch depends on."""
        return Checkpoint(
            tensors={
                **{f"model.{name}": value for name, value in self._state().items()},
                **{f"best.{name}": value for name, value in self.best.items()},
                **optimiser_tensors(self.optimiser),
                "order": self.generator.get_state(),
                "dropout": torch.get_rng_state(),
            },
            facts={
                "record": asdict(self.record),
                "groups": self.optimiser.state_dict()["param_groups"],
                "steps": self.schedule.last_epoch,
                "gflops_per_view": self.gflops_per_view,
            },
        )

    def resume(self, kept: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        restore_optimiser(self.optimiser, kept.tensors, kept.facts["groups"])
        self.schedule.last_epoch = kept.facts["steps"]
        self.model.load_state_dict(_below("model.", kept), strict=False)
        self.best = _below("best.", kept)
        self.generator.set_state(kept.tensors["order"])
        torch.set_rng_state(kept.tensors["dropout"])
        for name, value in kept.facts["record"].items():
            setattr(self.record, name, value)
        self.gflops_per_view = kept.facts["gflops_per_view"]


def _below(prefix: str, kept: Checkpoint) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in kept.tensors.items()
        if name.startswith(prefix)
    }


def _key(model: AdaptedModel, train: KeptViews, settings: TrainingSettings, seed: int) -> str:
    """Tells this training from any other: its first state, data, settings and seed."""
    digest = hashlib.sha256(f"{settings.model_dump_json()} {seed}".encode())
    state = model.adapted_state("reestimated")
    for value in [*state.values(), *train.tensors(), *tensors_in(train.targets)]:
        digest.update(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def train_adapted(
    model: AdaptedModel,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    scene: Sequence[Image],
    settings: TrainingSettings,
    seed: int,
    *,
    objective: Objective | None = None,
    warm_start: PatchedModel | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> TrainingRecord:
    """Trains in place what the method trains; all else stays as it is.

    Operations are counted, two for a multiply-add, on the real steps.

    Args:
        model: a fresh adapted model.
        samples: labelled frames, one or more.
        held_out: labelled frames that choose the epoch; none: the last one is kept.
        scene: pictures whose norm statistics are taken over, labelled or not.
        settings: epochs, what else is done.
        seed: of the order of the batches.
        objective: what is minimised; None: the loss of the labels.
        warm_start: a trained model whose patches a patched model's training begins from.
        checkpoint: file that is written after each epoch, and gone on from where it is there.
        progress: called with the share that is done, 0..1.

    Raises:
        TrainingError: no samples, pictures of one class only, one frame and batch norm, or a loss
            that is not finite.
        ValueError: a checkpoint of another training, patches that do not fit.
    """
    started = time.monotonic()
    record = TrainingRecord(samples=len(samples))
    small = [resized(sample, model.spec.input_size) for sample in samples]
    views = views_of(model.spec.task, small, settings, seed)
    objective = objective or FromLabels()
    _check(model, samples, len(views), settings, objective)
    validation = [resized(sample, model.spec.input_size) for sample in held_out]
    if settings.reestimate_norm:
        reestimate(model, scene, settings.norm_prior, record)
    train = Views(model, views, settings, record)
    validation_views = Views(model, validation, settings, record) if validation else None
    train_on_views(
        model,
        train,
        validation_views,
        [sample.label for sample in validation],
        settings,
        seed,
        record,
        objective=objective,
        warm_start=warm_start,
        checkpoint=checkpoint,
        progress=progress,
    )
    record.seconds = time.monotonic() - started
    return record


def train_on_views(
    model: AdaptedModel,
    train: KeptViews,
    validation: KeptViews | None,
    labels: Sequence[Label],
    settings: TrainingSettings,
    seed: int,
    record: TrainingRecord,
    *,
    objective: Objective | None = None,
    warm_start: PatchedModel | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """The same on views whose frozen parts are computed already.

    Args:
        model: a fresh adapted model.
        train: views to train on.
        validation: views that choose the epoch; None: the last one is kept.
        labels: of the validation's views.
        settings: epochs, batches, rate.
        seed: of the order of the batches.
        record: gets what it costs and how it goes.
        objective, warm_start, checkpoint, progress: as for `train_adapted`.

    Raises:
        TrainingError: a loss that is not finite.
        ValueError: a checkpoint of another training, patches that do not fit.
    """
    torch.manual_seed(seed)
    objective = objective or FromLabels()
    run = _Run(model, train, validation, labels, settings, seed, record, objective)
    run.validate()
    if warm_start is not None:
        if not isinstance(model, PatchedModel):
            raise ValueError("only patches can be warm-started from another model")
        model.warm_start(warm_start)
    _go_on(run, checkpoint, _key(model, train, settings, seed) if checkpoint else "", progress)
    if record.best_epoch < len(record.losses):
        model.load_state_dict(run.best, strict=False)
    objective.ended(model)
    model.eval()


def _go_on(run: _Run, checkpoint: Path | None, key: str, progress: Callable[[float], None]) -> None:
    """Trains from the checkpoint, or from the beginning, to the end."""
    kept = read_checkpoint(checkpoint, key) if checkpoint else None
    if kept is not None:
        run.resume(kept)
    while not run.finished:
        run.epoch()
        run.validate()
        if checkpoint is not None:
            write_checkpoint(checkpoint, key, run.checkpoint())
        progress(len(run.record.losses) / run.settings.epochs)
