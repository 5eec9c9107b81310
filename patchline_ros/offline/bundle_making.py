"""Makes a bundle: trains the source models and measures everything that a car needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from patchline_ros.adaptation.affinity import affinity_tables
from patchline_ros.adaptation.readers import ImageReader
from patchline_ros.adaptation.similarity import MEASURES
from patchline_ros.bundle import CARD, Bundle
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import sha256
from patchline_ros.host import library_versions
from patchline_ros.jobs.scheduler import Executor
from patchline_ros.manifest import DriftLabel, Manifest, ModelEntry
from patchline_ros.offline.bundle_predictor import LearntPredictor, learn_predictor
from patchline_ros.offline.bundle_preparation import Prepared, prepare_models
from patchline_ros.offline.bundle_writing import PictureRecord, save_bundle
from patchline_ros.offline.card import write_card
from patchline_ros.offline.checks import check_inputs
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.drifted import WatchedSource, backbone_features, spread, stretches
from patchline_ros.offline.patch_predictor import light_reader, vgg16_reader
from patchline_ros.offline.predictor_data import PredictorData, predictor_data
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.source_training import (
    Tensors,
    in_training_order,
    measured,
    taught_by,
    train_source_model,
)
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.offline.stages import Stages, inputs_key
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.fabric import leave_process_group, local_process_count, training_fabric
from patchline_ros.vision.model import TaskModel
from patchline_ros.vision.training import SourceStep

if TYPE_CHECKING:
    from lightning_fabric import Fabric

AFFINITY_MEASURE = "perceptual_hash"
"""The paper's own, which orders the training; the bundle has all others, too."""
AFFINITY_IMAGES = 32
WINDOW_FRAMES = 2560
"""Source frames, at most, whose windows show what the source looks like."""
EXAMPLES = 4
"""Held-out pictures of each task, for the card."""
KEPT, KEPT_OF_ONE_LABEL = 12, 40
"""Held-out frames of a task that stay in the bundle with their labels: fewer where a label says
much of a picture."""

Report = Callable[[str, float, str], None]
"""Told the name of a stage, the share of it that is done, and a figure to show."""


def drift_reference(model: TaskModel, train: Sequence[Sample], recipe: Recipe) -> DriftReference:
    """What the source looks like to a model that watches for drift.

    Raises:
        ValueError: fewer training samples than two windows.
    """
    return DriftReference.from_source(
        backbone_features(model, recipe.drift_tap, stretches(train, WINDOW_FRAMES)),
        window=recipe.drift_window,
        false_alarm=recipe.drift_false_alarm,
    )


def _train_models(
    source: SourceData,
    recipe: Recipe,
    weights: Tensors | None,
    stages: Stages | None,
    fabric: Fabric,
    report: Report,
    log: TrainingLog | None,
) -> dict[Task, TaskModel]:
    """The source models of all tasks, in the order of their trainings."""
    models: dict[Task, TaskModel] = {}
    for task in in_training_order(source.tasks):
        data = source.tasks[task]
        teacher = taught_by(task, source.tasks, weights is not None)

        def on_step(step: SourceStep, task: Task = task) -> None:
            if log is not None:
                log.step(task, step)
            report(f"train {task}", step.share, "")

        models[task] = train_source_model(
            recipe.spec(task, data.classes, data.size),
            data.train,
            recipe,
            weights=weights,
            backbone=models[teacher].backbone.state_dict() if teacher else None,
            kept=stages.models if stages else None,
            name=str(task),
            fabric=fabric,
            on_step=on_step,
        )
    return models


def _entries(
    models: Mapping[Task, TaskModel], source: SourceData, report: Report, log: TrainingLog | None
) -> dict[Task, ModelEntry]:
    entries: dict[Task, ModelEntry] = {}
    for task, model in models.items():
        entries[task] = measured(model, source.tasks[task].held_out)
        report(f"train {task}", 1.0, f"{100 * entries[task].source_metric:.1f}")
        if log is not None:
            log.held_out(task, entries[task].source_metric)
    return entries


def _watched(model: TaskModel, data: TaskData, recipe: Recipe, report: Report) -> WatchedSource:
    """The model that watches for drift with what it compares with."""
    reference = drift_reference(model, data.train, recipe)
    report("drift reference", 1.0, f"threshold {reference.threshold:.3f}")
    return WatchedSource(model, reference, recipe.drift_tap, data.train, data.held_out)


def _affinity(
    models: Mapping[Task, TaskModel], held_out: Sequence[Sample], report: Report
) -> dict[str, dict[str, list[float]]]:
    pictures = [sample.image for sample in held_out[:AFFINITY_IMAGES]]
    tables = affinity_tables(models, pictures, list(MEASURES))
    report("affinity", 1.0, "")
    return tables


def _begun(
    path: Path, source: SourceData, recipe: Recipe, weights: Tensors | None, fabric: Fabric
) -> Stages | None:
    """What is finished of the bundle already; None in all processes but the first."""
    if not fabric.is_global_zero:
        return None
    # What a GPU has trained is not gone on with by a CPU.
    where = f"{fabric.device.type} {fabric.strategy.precision.precision}"
    settings = f"{recipe.model_dump_json()} {where} {library_versions()}"
    return Stages(path, inputs_key(source, settings, weights))


def make_bundle(
    source: SourceData,
    config: OfflineConfig,
    weights: Tensors | None,
    path: Path,
    executor: Executor,
    report: Report,
    log: TrainingLog | None = None,
    vgg16: Tensors | None = None,
) -> Bundle | None:
    """Trains the models of `source`, measures reference, affinity and patch table, writes all.

    Where the configuration asks for a learnt patch predictor, or for prepared patches, these are
    trained, too.

    What a call that was killed had finished is not done again, and the result is the same.

    Args:
        source: labelled source data, of one task at least.
        config: how; the same configuration and data give the same bundle on the same CPU.
        weights: torchvision state dict to start from, or None.
        path: folder to write; the manifest is written last, but for the card.
        executor: does the trainings that the patch table is learnt by, and the preparation.
        report: told of the progress.
        log: gets the scalars of the trainings, or None.
        vgg16: torchvision state dict that the paper's patch predictor reads by; None: random ones.

    Returns:
        The bundle; None in the processes of torchrun that do no more than train with the first.

    Raises:
        ModuleNotFoundError: lightning-fabric is not installed.
        ValueError: as `check_inputs` raises it, weights that do not fit the recipe's backbone or a
            VGG16, or a training whose weights became infinite.
    """
    recipe = config.recipe
    watching = in_training_order(source.tasks)[0]
    check_inputs(source, config, watching)
    by_pictures = vgg16_reader(vgg16, config.vgg16.size, recipe.seed) if config.vgg16 else None
    fabric = training_fabric(recipe.precision, "auto")
    torch.set_num_threads(max(1, recipe.threads // local_process_count()))
    stages = _begun(path, source, recipe, weights, fabric)
    models = _train_models(source, recipe, weights, stages, fabric, report, log)
    leave_process_group()
    if stages is None:
        return None
    entries = _entries(models, source, report, log)
    watched = _watched(models[watching], source.tasks[watching], recipe, report)
    affinity = _affinity(models, watched.held_out, report)
    found = _found(watched, config, stages, executor, report)
    learnt = _learnt(config, watched, found.labels, by_pictures, stages, report)
    prepared = _prepared(models, entries, source, config, stages, executor, report)
    manifest = _manifest(source.kind, config, entries, watched, affinity, found, learnt, prepared)
    pictures = {task: _pictures(task, data) for task, data in source.tasks.items()}
    predictor, files = learnt.file if learnt else b"", {t: p.file for t, p in prepared.items()}
    bundle = save_bundle(path, manifest, models, watched.reference, pictures, predictor, files)
    write_card(bundle, path / CARD)
    report("card", 1.0, "")
    stages.done()
    return bundle


def _found(
    watched: WatchedSource,
    config: OfflineConfig,
    stages: Stages,
    executor: Executor,
    report: Report,
) -> PredictorData:
    """The labels of the drifts that are made of the source, and the table learnt from them."""
    return predictor_data(
        watched,
        config.predictor,
        config.recipe.seed,
        stages.folder("predictor"),
        executor,
        lambda share: report("predictor data", share, ""),
    )


def _learnt(
    config: OfflineConfig,
    watched: WatchedSource,
    labels: Sequence[DriftLabel],
    by_pictures: ImageReader | None,
    stages: Stages,
    report: Report,
) -> LearntPredictor | None:
    """The learnt patch predictor, where the configuration asks for one."""
    if config.patch_count == "table":
        return None
    learnt = learn_predictor(
        config,
        watched,
        labels,
        by_pictures or light_reader(watched),
        stages.folder("patch_predictor"),
        lambda share: report("patch predictor", share, ""),
    )
    report("patch predictor", 1.0, f"right on {100 * learnt.entry.accuracy:.0f}% of the drifts")
    return learnt


def _prepared(
    models: Mapping[Task, TaskModel],
    entries: Mapping[Task, ModelEntry],
    source: SourceData,
    config: OfflineConfig,
    stages: Stages,
    executor: Executor,
    report: Report,
) -> dict[Task, Prepared]:
    """The patches with which a car answers without labels, where the configuration asks for any."""
    if config.preparation is None:
        return {}
    asked = sha256(config.preparation.model_dump_json().encode())[:16]
    prepared = prepare_models(
        models,
        entries,
        source,
        config.preparation,
        config.recipe.seed,
        stages.folder(f"prepared-{asked}"),
        executor,
        lambda task, share: report(f"prepare {task}", share, ""),
    )
    for task, (entry, _) in prepared.items():
        gain = 100 * (entry.prepared_metric - entry.source_metric)
        report(f"prepare {task}", 1.0, f"{gain:+.1f} on drifts")
    return prepared


def _manifest(
    kind: str,
    config: OfflineConfig,
    entries: dict[Task, ModelEntry],
    watched: WatchedSource,
    affinity: dict[str, dict[str, list[float]]],
    found: PredictorData,
    learnt: LearntPredictor | None,
    prepared: Mapping[Task, Prepared],
) -> Manifest:
    """What the bundle says of itself; `kind` is that of its source data."""
    return Manifest(
        name=config.name,
        source=kind,
        seed=config.recipe.seed,
        models=entries,
        drift=watched.drift_entry(),
        affinity=affinity,
        affinity_measure=AFFINITY_MEASURE,
        patch_table=found.table,
        drift_labels=found.labels,
        label_margin=config.predictor.margin,
        patch_predictor=learnt.entry if learnt else None,
        prepared={task: each.entry for task, each in prepared.items()},
        versions=library_versions(),
        # How many work on it changes nothing.
        config=config.model_dump(mode="json", exclude={"workers"}),
        files={},
    )


def _pictures(task: Task, data: TaskData) -> PictureRecord:
    return PictureRecord(
        trained_on=data.names,
        held_out=data.held_out_names,
        examples=[sample.image for sample in spread(data.held_out, EXAMPLES)],
        frames=frames_to_keep(task, data),
    )


def frames_to_keep(task: Task, data: TaskData) -> list[Sample]:
    """Those of a task's held-out frames that stay in the bundle, evenly over all of them."""
    return spread(data.held_out, KEPT_OF_ONE_LABEL if task.traits.one_label else KEPT)
