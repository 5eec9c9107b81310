"""What would end an offline run after hours, said before anything is trained."""

from __future__ import annotations

from patchline_ros.adaptation.similarity import CKA_PICTURES
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.predictor_data import patch_counts
from patchline_ros.offline.sources import SourceData
from patchline_ros.tasks import Task
from patchline_ros.vision.model import TaskModel


def check_inputs(source: SourceData, config: OfflineConfig, watching: Task) -> None:
    """Compares data and configuration.

    Args:
        source: what the models are trained on.
        config: how.
        watching: the task whose features are watched for drift.

    Raises:
        ValueError: a model can't be built for its classes, too few pictures to train a model on, to
            compare models on or to watch for drift with, or a tap or number of patches that the
            backbone does not have.
    """
    recipe = config.recipe
    for task, data in source.tasks.items():
        if len(data.train) < recipe.batch_size:
            raise ValueError(
                f"{len(data.train)} {task} pictures are fewer than one batch of "
                f"{recipe.batch_size}; give more, or a smaller recipe.batch_size"
            )
        recipe.spec(task, data.classes, data.size)
    watched = source.tasks[watching]
    if len(source.tasks) > 1 and len(watched.held_out) < CKA_PICTURES:
        raise ValueError(
            f"{len(watched.held_out)} held-out pictures for {watching} are too few to compare the "
            f"models on; hold out {CKA_PICTURES} at least"
        )
    if len(watched.train) < 2 * recipe.drift_window:
        raise ValueError(
            f"{len(watched.train)} {watching} pictures to train on are fewer than two windows of "
            f"{recipe.drift_window} that a drift is told from; give more, or a smaller "
            "recipe.drift_window"
        )
    if recipe.drift_false_alarm < 4 * recipe.drift_window:
        raise ValueError(
            f"recipe.drift_false_alarm is {recipe.drift_false_alarm} frames; with windows of "
            f"{recipe.drift_window} it must be {4 * recipe.drift_window} at least"
        )
    spec = recipe.spec(watching, watched.classes, watched.size)
    groups = len(TaskModel(spec).backbone.specs)
    if recipe.drift_tap > groups:
        raise ValueError(
            f"recipe.drift_tap is {recipe.drift_tap}; {recipe.backbone} has the taps 0 to {groups}"
        )
    patch_counts(config.predictor, groups)
