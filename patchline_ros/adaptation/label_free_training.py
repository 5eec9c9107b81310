"""Trainings that use no label of the road: ours and the methods that it is compared with.

All of them go through the one trainer (`adaptation/trainer.py`), on the same pictures, with norm
statistics, cache, rates and epochs like every other method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from patchline_ros.adaptation.entropy_objectives import (
    EataSettings,
    MeanEntropy,
    SureEntropy,
    TentSettings,
)
from patchline_ros.adaptation.mean_teacher import CottaSettings, MeanTeacher
from patchline_ros.adaptation.norm_statistics import moved_norm
from patchline_ros.adaptation.objective import Objective
from patchline_ros.adaptation.pseudo_labels import pseudo_labelled
from patchline_ros.adaptation.restyling import restyled
from patchline_ros.adaptation.trainer import TrainingError, train_adapted
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.config_files import StrictModel
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import IGNORE, Boxes, Image, Label, Sample, Task


class SelfLabelSettings(StrictModel):
    """The model's own answers where it is sure, and source pictures in the colours of the road."""

    learner: Literal["self_labels"]
    share: float = Field(default=0.6, gt=0, le=1)
    """Of the pixels, or pictures with one label, that is labelled in each class: the surest."""
    least_score: float = Field(default=0.4, ge=0, le=1)
    """Of a box that is a label."""
    source_pictures: int = Field(default=0, ge=0)
    """Labelled pictures of the source that are restyled and trained on, too."""


UnlabelledSettings = Annotated[
    TentSettings | EataSettings | CottaSettings | SelfLabelSettings, Field(discriminator="learner")
]


def train_without_labels(
    model: AdaptedModel,
    images: Sequence[Image],
    source: Sequence[Sample],
    learning: UnlabelledSettings,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> TrainingRecord:
    """Trains in place what the method trains; the last epoch is kept, since nothing can choose one.

    Args:
        model: a fresh adapted model.
        images: pictures of the road.
        source: labelled samples of the source domain, for the learners that take some.
        learning: what is learnt from.
        settings: epochs, rates and what else is done.
        seed: of everything that is drawn.
        progress: called with the share that is done, 0..1.

    Raises:
        TrainingError: a loss that is not finite, nothing that the model is sure of, or no source
            pictures where the learner takes some.
    """
    if isinstance(learning, EataSettings) and not source:
        raise TrainingError("EATA measures which weights matter on source pictures; there are none")
    start = model.eval()
    if settings.reestimate_norm:
        # The training does and counts the same again: its answers are the first ones.
        start = moved_norm(model, images, settings.norm_prior)
    with FlopCounter() as flops:
        samples, objective = _learnt_from(model, start, images, source, learning, seed)
    record = train_adapted(
        model, samples, [], images, settings, seed, objective=objective, progress=progress
    )
    record.spend("training", flops.total / 1e9)
    return record


def _learnt_from(
    model: AdaptedModel,
    start: AdaptedModel,
    images: Sequence[Image],
    source: Sequence[Sample],
    learning: UnlabelledSettings,
    seed: int,
) -> tuple[list[Sample], Objective | None]:
    """What a learner trains on, and what it minimises; None: the loss of these labels.

    `start` is the model under the norm statistics with which the training begins.
    """
    if isinstance(learning, SelfLabelSettings):
        own = pseudo_labelled(start, images, learning.share, learning.least_score)
        return [*own, *restyled(source, images, learning.source_pictures, seed)], None
    unlabelled = [Sample(image, _nothing(start.spec.task, image)) for image in images]
    if isinstance(learning, EataSettings):
        of_source = [sample.image for sample in source]
        return unlabelled, SureEntropy(model, learning, of_source)
    if isinstance(learning, CottaSettings):
        return unlabelled, MeanTeacher(start, learning, seed)
    return unlabelled, MeanEntropy()


def _nothing(task: Task, image: Image) -> Label:
    """A label that says nothing, for pictures that have none."""
    if task is Task.DETECTION:
        return Boxes.truth([], [])
    if task is Task.SEGMENTATION:
        nothing: Label = 0 * image[:, :, 0] + IGNORE
        return nothing
    return 0
