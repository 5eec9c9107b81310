"""Trains patches before the car leaves, on drifts that are made of source frames.

The patches of all drifts are one set. What tells the drifts apart are the norm statistics: while
the set is trained each drift has those of its own frames, and on the road they are taken over from
frames of the road, without a label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from patchline_ros.adaptation.norm_statistics import norm_prior_of, reestimate
from patchline_ros.adaptation.trainer import train_on_views
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.adaptation.views import JoinedViews, Views
from patchline_ros.config_files import StrictModel
from patchline_ros.drift.corruptions import CORRUPTIONS, MADE_DRIFTS, Family, corruptions_of
from patchline_ros.files import sha256
from patchline_ros.offline.drifted import Drift, Part, drifted
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import flipped, resized
from patchline_ros.vision.model import TaskModel

CLEAR: Final = ("contrast", 0.0)
"""The source's own frames as a drift: no corruption changes a picture at severity 0."""
STOPPING_SEVERITY: Final = 0.65
"""Of the drifts that choose the epoch: each corruption is among them, with new frames and draws."""

_ONE_LABEL: Final = 4
"""As many times more pictures are trained on of a task whose pictures have one label."""
_ONE_LABEL_HELD_OUT: Final = 16
"""As many times more are held out. An accuracy on 48 pictures is wrong by six points, which the
gate would take for an error of its own."""

PreparedMethod = Annotated[PatchSettings | LadderSettings, Field(discriminator="method")]
_Severity = Annotated[float, Field(gt=0, le=1)]


def head_of(task: Task) -> Literal["trained", "side"]:
    """Which head is prepared beside the patches of a task, where nothing else is said.

    A side head that is prepared is worth as much to segmentation as the model's own, and costs a
    car 30% of the steps' compute; to detection it is worth less (docs/method.md).
    """
    return "side" if task is Task.SEGMENTATION else "trained"


class PreparationSettings(StrictModel):
    """How patches are trained before the car leaves."""

    epochs: int = Field(default=4, ge=1)
    """Passes over the drifts' frames; the best one by held-out frames of other drifts is kept."""
    frames: int = Field(default=40, ge=8)
    """Source frames of each drift, drawn anew for each; four times as many where a picture has one
    label, which says less."""
    held_out_frames: int = Field(default=12, ge=4)
    """Held-out source frames of each drift that chooses the epoch, and of each that the label-free
    gate is fitted to; 16 times as many where a picture has one label."""
    method: PreparedMethod | None = Field(default=None, exclude_if=lambda method: method is None)
    """What is trained; None: patches beside all groups of the backbone, and the head or, for
    segmentation, a side head. A car takes patches only; ladders are there to be compared with."""
    batch_size: int = Field(default=8, ge=2)
    rate: float = Field(default=1.0, gt=0)
    """Factor on the learning rates with which a car trains the task."""
    drifts: tuple[tuple[str, _Severity], ...] = Field(default=MADE_DRIFTS, min_length=1)
    """Corruptions and severities; the source's own frames are always among them."""
    leave_out: tuple[Family, ...] = Field(default=(), exclude_if=lambda families: not families)
    """Families of corruptions that nothing sees: neither the patches, nor what chooses the epoch,
    nor the label-free gate. To measure what a car does in a drift that nobody had thought of."""
    gate_severities: tuple[_Severity, ...] = Field(default=(0.3, 0.55, 0.85), min_length=1)
    """Severities of each corruption on which the label-free gate is fitted; the patches must not
    have been trained on them."""
    cache_memory_mib: float = Field(default=2048, ge=0)
    """Frozen activations that take more memory than this are kept in temporary files."""

    @field_validator("drifts")
    @classmethod
    def _are_known(cls, drifts: tuple[Drift, ...]) -> tuple[Drift, ...]:
        for corruption, _ in drifts:
            if corruption not in CORRUPTIONS:
                raise ValueError(
                    f"there is no corruption {corruption!r}; there are {', '.join(CORRUPTIONS)}"
                )
        return drifts

    @model_validator(mode="after")
    def _gate_sees_new_drifts(self) -> PreparationSettings:
        known = {drift for drift in self.drifts if drift[1] in self.gate_severities}
        if known:
            corruption, severity = min(known)
            raise ValueError(
                f"gate_severities has {severity}, and the patches are trained on {corruption} "
                f"{severity}: the gate would be fitted to drifts that they know"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left(self) -> PreparationSettings:
        if len(self.training_drifts) == 1:
            raise ValueError(
                f"leave_out has {', '.join(self.leave_out)}, and no other drifts are trained on"
            )
        return self

    @property
    def _left_out(self) -> set[str]:
        return {name for family in self.leave_out for name in corruptions_of(family)}

    @property
    def training_drifts(self) -> list[Drift]:
        """Drifts that the patches are trained on, and the source's own frames."""
        return [CLEAR, *(drift for drift in self.drifts if drift[0] not in self._left_out)]

    @property
    def stopping_drifts(self) -> list[Drift]:
        """Drifts that choose the epoch: of the corruptions that are trained on, and no others."""
        names = dict.fromkeys(corruption for corruption, _ in self.training_drifts[1:])
        return [CLEAR, *((name, STOPPING_SEVERITY) for name in names)]

    @property
    def gate_drifts(self) -> list[Drift]:
        """Drifts that the label-free gate is fitted to: of corruptions that patches know or not."""
        names = [name for name in CORRUPTIONS if name not in self._left_out]
        return [CLEAR, *((name, severity) for severity in self.gate_severities for name in names)]

    def method_of(self, source: TaskModel) -> PatchSettings | LadderSettings:
        """What is trained beside this model."""
        groups = len(source.backbone.specs)
        return self.method or PatchSettings(k=groups, head=head_of(source.spec.task))

    def frames_of(self, task: Task) -> int:
        """Source frames of each drift."""
        return self.frames * (_ONE_LABEL if task.traits.one_label else 1)

    def held_out_frames_of(self, task: Task) -> int:
        """Held-out source frames of each drift."""
        return self.held_out_frames * (_ONE_LABEL_HELD_OUT if task.traits.one_label else 1)

    def training(self, task: Task, caches: int) -> TrainingSettings:
        """The same in the trainer's words, for a task and so many sets of views that are kept."""
        return TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            rate=self.rate * task.traits.rate_factor,
            mirror=False,
            cache="float16",
            cache_memory_mib=self.cache_memory_mib / caches,
        )


@dataclass(frozen=True)
class Preparation:
    """Patches that were trained before the car leaves.

    Attributes:
        model: the source model with them, with the source's own norm statistics.
        record: of their training; its metrics are those of the stopping drifts' frames.
    """

    model: AdaptedModel
    record: TrainingRecord


def prepare(
    source: TaskModel,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: PreparationSettings,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Preparation:
    """Trains the patches, and the head, on all drifts together.

    Args:
        source: in evaluation mode; it is left untouched.
        train: source samples that the drifts are made of.
        held_out: others, which the epoch is chosen on.
        settings: how.
        seed: of the frames of each drift, of the drifts and of the training.
        checkpoint: file that is written after each epoch, and gone on from where it is there.
        progress: told the share that is done, 0..1.

    Raises:
        TrainingError: a loss that is not finite.
        ValueError: a method that does not fit the model, or a checkpoint of another training.
    """
    torch.manual_seed(seed)
    model = adapted(source, settings.method_of(source))
    record = TrainingRecord()
    task, drifts = source.spec.task, settings.training_drifts
    training = settings.training(task, len(drifts))
    kept = []
    for done, drift in enumerate(drifts):
        samples = frames_of_drift(source, train, settings.frames_of(task), drift, "train", seed)
        kept.append(_views(model, source, samples, training, record))
        record.samples += len(samples)
        progress(0.5 * (done + 1) / len(drifts))
    validation, labels = [], []
    for drift in settings.stopping_drifts:
        count = settings.held_out_frames_of(task)
        samples = frames_of_drift(source, held_out, count, drift, "held_out", seed)
        validation.append(_views(model, source, samples, training, record))
        labels += [sample.label for sample in samples]
    model.backbone.load_state_dict(source.backbone.state_dict())
    train_on_views(
        model,
        JoinedViews(kept),
        JoinedViews(validation),
        labels,
        training,
        seed,
        record,
        checkpoint=checkpoint,
        progress=lambda share: progress(0.5 + 0.5 * share),
    )
    return Preparation(model, record)


def frames_of_drift(
    source: TaskModel, samples: Sequence[Sample], count: int, drift: Drift, part: Part, seed: int
) -> list[Sample]:
    """Frames of a drift at the model's size: drawn for it alone, half of the roads mirrored."""
    corruption, severity = drift
    rng = np.random.default_rng(
        int(sha256(f"frames {corruption} {severity} {part} {seed}".encode()), 16)
    )
    rows = rng.permutation(len(samples))[:count]
    chosen = [resized(samples[row], source.spec.input_size) for row in sorted(rows)]
    if not source.spec.task.traits.one_label:
        chosen = [flipped(sample) if rng.random() < 0.5 else sample for sample in chosen]
    return drifted(chosen, drift, part, seed)


def _views(
    model: AdaptedModel,
    source: TaskModel,
    samples: Sequence[Sample],
    training: TrainingSettings,
    record: TrainingRecord,
) -> Views:
    """The frames with their frozen parts under norm statistics of their own."""
    model.backbone.load_state_dict(source.backbone.state_dict())
    reestimate(model, [sample.image for sample in samples], norm_prior_of(len(samples)), record)
    return Views(model, samples, training, record)
