"""Makes a bundle: trains the source models and measures everything that a car needs to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from patchline_ros.adaptation.affinity import affinity_tables
from patchline_ros.adaptation.gate import evaluate
from patchline_ros.adaptation.selection import entropies
from patchline_ros.adaptation.similarity import MEASURES
from patchline_ros.bundle import (
    CARD,
    Bundle,
    DriftEntry,
    Manifest,
    ModelEntry,
    Pictures,
    save_bundle,
)
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.host import library_versions
from patchline_ros.jobs.scheduler import Executor
from patchline_ros.offline.card import write_card
from patchline_ros.offline.checks import check_inputs
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.drifted import Watched, backbone_features, spread
from patchline_ros.offline.predictor_data import predictor_data
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.offline.stages import Stages, inputs_key
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.tasks import TRAINING_ORDER, Sample, Task
from patchline_ros.vision.fabric import leave_process_group, local_process_count, training_fabric
from patchline_ros.vision.model import TaskModel, fingerprint
from patchline_ros.vision.training import train_source

if TYPE_CHECKING:
    from lightning_fabric import Fabric

"""Lanes first: a label for each pixel teaches a random backbone most, and the others start from it
where there are no weights to start from. From random weights the detector learnt nothing at all.
The first that a bundle has is also the one whose features are watched for drift."""
AFFINITY_MEASURE = "perceptual_hash"
"""The paper's own, which orders the training; the bundle has all others, too."""
AFFINITY_IMAGES = 32
REFERENCE_FRAMES = 320
EXAMPLES = 4
"""Held-out pictures of each task, for the card."""

Tensors = dict[str, torch.Tensor]
Report = Callable[[str, float, str], None]
"""Told the name of a stage, the share of it that is done, and a figure to show."""


def drift_reference(model: TaskModel, train: Sequence[Sample], recipe: Recipe) -> DriftReference:
    """What the source looks like to a model that watches for drift.

    Raises:
        ValueError: fewer training samples than two windows.
    """
    return DriftReference.from_source(
        backbone_features(model, recipe.drift_tap, spread(train, REFERENCE_FRAMES)),
        window=recipe.drift_window,
        alpha=recipe.drift_alpha,
        permutations=recipe.drift_permutations,
        seed=recipe.seed,
    )


def _train(
    task: Task,
    data: TaskData,
    recipe: Recipe,
    weights: Tensors | None,
    backbone: Tensors | None,
    stages: Stages | None,
    fabric: Fabric,
    report: Report,
    log: TrainingLog | None,
) -> TaskModel:
    spec = recipe.spec(task, data.classes, data.size)
    finished = fabric.broadcast(stages.tensors(str(task)) if stages else None)
    if finished is not None:
        whole = TaskModel(spec)
        whole.load_state_dict(finished)
        return whole.eval()
    model: TaskModel | None = None
    for step, trained in train_source(
        spec,
        data.train,
        weights=weights,
        backbone=backbone,
        epochs=recipe.epochs_of(task),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        ema=recipe.ema,
        checkpoint=stages.checkpoint(str(task)) if stages else None,
        fabric=fabric,
    ):
        model = trained
        if log is not None:
            log.step(task, step)
        report(f"train {task}", step.share, "")
    assert model is not None
    if stages is not None:
        stages.keep(str(task), model.state_dict())
    return model


def _entry(model: TaskModel, data: TaskData) -> ModelEntry:
    return ModelEntry(
        spec=model.spec,
        fingerprint=fingerprint(model),
        source_metric=evaluate(model, data.held_out),
        source_entropy=float(np.mean(entropies(model, data.held_out))),
    )


def make_bundle(
    source: SourceData,
    config: OfflineConfig,
    weights: Tensors | None,
    path: Path,
    executor: Executor,
    report: Report,
    log: TrainingLog | None = None,
) -> Bundle | None:
    """Trains the models of `source`, measures reference, affinity and patch table, writes all.

    What a call that was killed had finished is not done again, and the result is the same.

    Args:
        source: labelled source data, of one task at least.
        config: how; the same configuration and data give the same bundle on the same CPU.
        weights: torchvision state dict to start from, or None.
        path: folder to write; the manifest is written last, but for the card.
        executor: does the trainings that the patch table is learnt by.
        report: told of the progress.
        log: gets the scalars of the trainings, or None.

    Returns:
        The bundle; None in the processes of torchrun that do no more than train with the first.

    Raises:
        ModuleNotFoundError: lightning-fabric is not installed.
        ValueError: as `check_inputs` raises it, weights that do not fit the recipe's backbone, or a
            training whose weights became infinite.
    """
    recipe = config.recipe
    order = [task for task in TRAINING_ORDER if task in source.tasks]
    watching = order[0]
    watched = source.tasks[watching]
    check_inputs(source, config, watching)
    fabric = training_fabric(recipe.precision, "auto")
    torch.set_num_threads(max(1, recipe.threads // local_process_count()))
    # What a GPU has trained is not gone on with by a CPU.
    where = f"{fabric.device.type} {fabric.strategy.precision.precision}"
    settings = f"{recipe.model_dump_json()} {where} {library_versions()}"
    stages = None
    if fabric.is_global_zero:
        stages = Stages(path, inputs_key(source, settings, weights))
    models: dict[Task, TaskModel] = {}
    for task in order:
        taught = models[watching].backbone.state_dict() if models else None
        models[task] = _train(
            task,
            source.tasks[task],
            recipe,
            weights,
            taught if weights is None else None,
            stages,
            fabric,
            report,
            log,
        )
    leave_process_group()
    if stages is None:
        return None
    entries: dict[Task, ModelEntry] = {}
    for task, model in models.items():
        entries[task] = _entry(model, source.tasks[task])
        report(f"train {task}", 1.0, f"{100 * entries[task].source_metric:.1f}")
        if log is not None:
            log.held_out(task, entries[task].source_metric)
    reference = drift_reference(models[watching], watched.train, recipe)
    report("drift reference", 1.0, f"threshold {reference.threshold:.3f}")
    affinity = affinity_tables(
        models, [sample.image for sample in watched.held_out[:AFFINITY_IMAGES]], list(MEASURES)
    )
    report("affinity", 1.0, "")
    found = predictor_data(
        Watched(models[watching], reference, recipe.drift_tap, watched.train, watched.held_out),
        config.predictor,
        recipe.seed,
        stages.folder("predictor"),
        executor,
        lambda share: report("predictor data", share, ""),
    )
    manifest = Manifest(
        name=config.name,
        source=source.kind,
        seed=recipe.seed,
        models=entries,
        drift=DriftEntry(
            task=watching,
            tap=recipe.drift_tap,
            window=recipe.drift_window,
            bandwidth=reference.bandwidth,
            threshold=reference.threshold,
        ),
        affinity=affinity,
        affinity_measure=AFFINITY_MEASURE,
        patch_table=found.table,
        drift_labels=found.labels,
        label_margin=config.predictor.margin,
        versions=library_versions(),
        # How many work on it changes nothing.
        config=config.model_dump(mode="json", exclude={"workers"}),
        files={},
    )
    pictures = {task: _pictures(data) for task, data in source.tasks.items()}
    bundle = save_bundle(path, manifest, models, reference, pictures)
    write_card(bundle, path / CARD)
    report("card", 1.0, "")
    stages.done()
    return bundle


def _pictures(data: TaskData) -> Pictures:
    return Pictures(
        trained_on=data.names,
        held_out=data.held_out_names,
        examples=[sample.image for sample in spread(data.held_out, EXAMPLES)],
    )
