"""Trains one model's patches and head on a few labelled frames.

The frozen path is computed once for each view of each frame; every epoch after that runs the
patches and the head alone. After each epoch the held-out frames are scored, and the best state is
kept. The first state of all counts too: re-estimated norm statistics and nothing trained. With few
frames and many classes that can be the best one. Of equal states the earliest is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Image, Label, Sample, Task
from patchline_ros.vision.backbone import reestimate_norm
from patchline_ros.vision.inputs import flipped, image_batches, make_batch, resized
from patchline_ros.vision.metrics import score
from patchline_ros.vision.training import one_cycle


class TrainingSettings(BaseModel):
    """How patches are trained; the defaults are the product's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=8, ge=1)
    reestimate_norm: bool = True
    mirror: bool = True
    """Also train on the mirrored frames (never on mirrored signs)."""


class LearningRates(NamedTuple):
    """Peak rates of AdamW."""

    patches: float
    head: float


LEARNING_RATES = {
    Task.SIGNS: LearningRates(5e-4, 2e-4),
    Task.OBJECTS: LearningRates(2e-3, 1e-3),
    Task.LANES: LearningRates(2e-3, 1e-3),
}
"""Signs have one label a picture where the others have thousands, and overfit at higher rates."""


@dataclass
class TrainingRecord:
    """What a training cost and how it went."""

    losses: list[float] = field(default_factory=list)
    """Mean training loss of each epoch."""
    metrics: list[float] = field(default_factory=list)
    """The task's metric on the held-out frames: before any training, then after each epoch."""
    best_epoch: int = 0
    """Whose state was kept; 0 is the one before any training."""
    seconds: float = 0.0
    gflops: float = 0.0
    samples: int = 0


@dataclass(frozen=True)
class _Cached:
    """One batch-free view: its frozen taps (1, C, H, W) each, and its target."""

    taps: list[Tensor]
    target: Any


def _views(task: Task, samples: Sequence[Sample], mirror: bool) -> list[Sample]:
    if not mirror or task is Task.SIGNS:
        return list(samples)
    return [*samples, *(flipped(sample) for sample in samples)]


def _frozen_cache(model: PatchedModel, views: Sequence[Sample], batch_size: int) -> list[_Cached]:
    cached: list[_Cached] = []
    for start in range(0, len(views), batch_size):
        batch = make_batch(model.spec, views[start : start + batch_size])
        taps = model.frozen_taps(batch.images)
        for i in range(len(batch.images)):
            cached.append(_Cached([tap[i : i + 1].clone() for tap in taps], batch.targets[i]))
    return cached


def _together(model: PatchedModel, cached: Sequence[_Cached]) -> tuple[list[Tensor], Any]:
    levels = len(cached[0].taps)
    taps = [torch.cat([item.taps[level] for item in cached]) for level in range(levels)]
    targets = [item.target for item in cached]
    return taps, targets if model.spec.task is Task.OBJECTS else torch.stack(targets)


def _step(model: PatchedModel, taps: list[Tensor], targets: Any) -> Tensor:
    loss: Tensor = model.head.loss(model.from_taps(taps), targets)
    loss.backward()
    return loss


def _held_out_score(
    model: PatchedModel, cached: Sequence[_Cached], labels: Sequence[Label], batch_size: int
) -> float:
    found: list[Label] = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(cached), batch_size):
            taps, _ = _together(model, cached[start : start + batch_size])
            found.extend(model.head.decode(model.from_taps(taps)))
    model.train()
    return score(model.spec.task, len(model.spec.classes), found, labels)


def _trained_state(model: PatchedModel) -> dict[str, Tensor]:
    """A copy of what training changes."""
    return {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if not name.startswith("backbone.")
    }


def train_patches(
    model: PatchedModel,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    scene: Sequence[Image],
    warm_start: PatchedModel | None,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[float], None],
) -> TrainingRecord:
    """Trains patches and head in place; the frozen weights stay as they are.

    FLOPs are counted, two for a multiply-add, on the real step: neither patches nor heads have
    grouped convolutions, whose backward the counter gets wrong, and the frozen path only runs
    forward.

    Args:
        model: fresh patches on a source model.
        samples: labelled frames, one or more.
        held_out: labelled frames that choose the epoch; none: the last one is kept.
        warm_start: a trained model whose patches the training begins from.
        scene: pictures whose norm statistics are taken over, labelled or not.
        settings: epochs, rates, what else is done.
        seed: of the order of the batches.
        progress: called with the share that is done, 0..1.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError(f"no labelled frames are left to train {model.spec.task} on")
    started = time.monotonic()
    record = TrainingRecord(samples=len(samples))
    small = [resized(sample, model.spec.input_size) for sample in samples]
    views = _views(model.spec.task, small, settings.mirror)
    judges = [resized(sample, model.spec.input_size) for sample in held_out]
    labels = [sample.label for sample in judges]
    forward_flops = FlopCounterMode(display=False)
    with forward_flops:
        if settings.reestimate_norm:
            reestimate_norm(model.backbone, image_batches(model.spec, scene))
        cache = _frozen_cache(model, views, settings.batch_size)
        judge_cache = _frozen_cache(model, judges, settings.batch_size)
    record.gflops = forward_flops.get_total_flops() / 1e9
    judging_gflops = 0.0
    best = _trained_state(model)
    if judges:
        with FlopCounterMode(display=False) as judging_flops:
            metric = _held_out_score(model, judge_cache, labels, settings.batch_size)
        record.metrics.append(metric)
        judging_gflops = judging_flops.get_total_flops() / 1e9
        record.gflops += judging_gflops

    if warm_start is not None:
        model.warm_start(warm_start)
    rates = LEARNING_RATES[model.spec.task]
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.patch_parameters()), "lr": rates.patches},
            {"params": list(model.head.parameters()), "lr": rates.head},
        ],
        weight_decay=1e-2,
    )
    batches_per_epoch = -(-len(cache) // settings.batch_size)
    schedule = one_cycle(optimiser, settings.epochs * batches_per_epoch)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model.train()
    gflops_per_view: float | None = None
    for epoch in range(settings.epochs):
        order = torch.randperm(len(cache), generator=generator).tolist()
        total = 0.0
        for start in range(0, len(order), settings.batch_size):
            chosen = [cache[i] for i in order[start : start + settings.batch_size]]
            taps, targets = _together(model, chosen)
            optimiser.zero_grad()
            if gflops_per_view is None:
                with FlopCounterMode(display=False) as step_flops:
                    loss = _step(model, taps, targets)
                gflops_per_view = step_flops.get_total_flops() / 1e9 / len(chosen)
            else:
                loss = _step(model, taps, targets)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            record.gflops += gflops_per_view * len(chosen)
            total += float(loss.detach()) * len(chosen)
        record.losses.append(total / len(cache))
        if judges:
            metric = _held_out_score(model, judge_cache, labels, settings.batch_size)
            record.gflops += judging_gflops
            if metric > max(record.metrics):
                best, record.best_epoch = _trained_state(model), epoch + 1
            record.metrics.append(metric)
        else:
            record.best_epoch = epoch + 1
        progress((epoch + 1) / settings.epochs)
    if record.best_epoch < settings.epochs:
        model.load_state_dict(best, strict=False)
    model.eval()
    record.seconds = time.monotonic() - started
    return record
