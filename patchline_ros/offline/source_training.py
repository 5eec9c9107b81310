"""Trains the source models of a bundle or of a benchmark, and measures what they can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from patchline_ros.adaptation.selection import entropies
from patchline_ros.manifest import ModelEntry
from patchline_ros.offline.drifted_views import DriftedViews
from patchline_ros.offline.kept_models import KeptModels
from patchline_ros.offline.recipe import Recipe
from patchline_ros.tasks import TRAINING_ORDER, Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.training import SourceStep, train_source

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Tensors = dict[str, Tensor]


def in_training_order(tasks: Iterable[Task]) -> list[Task]:
    """The tasks in the order in which their source models are trained.

    Segmentation comes first: a label for each pixel teaches a random backbone most, and the others
    start from it where there are no weights to start from. From random weights the detector learnt
    nothing at all. The first task is also the one whose features are watched for drift.
    """
    there = set(tasks)
    return [task for task in TRAINING_ORDER if task in there]


def taught_by(task: Task, tasks: Iterable[Task], from_weights: bool) -> Task | None:
    """The task whose trained backbone this one's training starts from.

    None for the first task, and for all where there are weights to start from.
    """
    first = in_training_order(tasks)[0]
    return None if from_weights or task is first else first


def train_source_model(
    spec: ModelSpec,
    samples: Sequence[Sample],
    recipe: Recipe,
    *,
    weights: Tensors | None,
    backbone: Tensors | None,
    kept: KeptModels | None,
    name: str,
    fabric: Fabric,
    on_step: Callable[[SourceStep], None],
) -> TaskModel:
    """A source model, trained to the end or read where it is kept; in evaluation mode, on the CPU.

    Args:
        spec: what to build.
        samples: training data.
        recipe: epochs, batch size, learning rate, moving average, drifted views and seed.
        weights: torchvision state dict to start from, or None.
        backbone: state dict of a trained backbone to start from, or None.
        kept: where finished models and the state of unfinished trainings lie; None in all
            processes but the first.
        name: of the model there.
        fabric: of `training_fabric`.
        on_step: told of each step.

    Raises:
        ModuleNotFoundError: lightning-fabric is not installed.
        ValueError: as `train_source` raises it, or a kept model that is damaged.
    """
    finished = fabric.broadcast(kept.tensors(name) if kept else None)
    if finished is not None:
        whole = TaskModel(spec)
        whole.load_state_dict(finished)
        return whole.eval()
    model: TaskModel | None = None
    for step, trained in train_source(
        spec,
        samples,
        weights=weights,
        backbone=backbone,
        epochs=recipe.epochs_of(spec.task),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        ema=recipe.ema,
        draw_change=DriftedViews(share) if (share := recipe.drifted_views.get(spec.task)) else None,
        checkpoint=kept.checkpoint(name) if kept else None,
        fabric=fabric,
    ):
        model = trained
        on_step(step)
    assert model is not None
    if kept is not None:
        kept.keep(name, model.state_dict())
    return model


def measured(model: TaskModel, held_out: Sequence[Sample]) -> ModelEntry:
    """What the model is and does on held-out source samples; it must be in evaluation mode."""
    return ModelEntry(
        spec=model.spec,
        fingerprint=fingerprint(model),
        source_metric=evaluate(model, held_out),
        source_entropy=float(np.mean(entropies(model, held_out))),
    )
