"""The prepared patches that a bundle carries, with what their label-free gate is fitted to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from patchline_ros.bundle import CARD, Bundle
from patchline_ros.files import remove_leftovers, sha256
from patchline_ros.manifest import ModelEntry, PreparedEntry
from patchline_ros.offline.bundle_writing import add_prepared
from patchline_ros.offline.card import write_card
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.prepared_patches import gate_points_once, prepare_once
from patchline_ros.offline.sources import SourceData
from patchline_ros.offline.stages import MAKING
from patchline_ros.tasks import Task
from patchline_ros.vision.model import TaskModel


class Prepared(NamedTuple):
    """What goes into the bundle, of one task."""

    entry: PreparedEntry
    file: bytes


def prepare_bundle(
    bundle: Bundle,
    source: SourceData,
    settings: PreparationSettings,
    report: Callable[[Task, float], None],
) -> Bundle:
    """Adds prepared patches to a bundle that is whole already; its source models stay as they are.

    Until the last moment the bundle is what it was, and what a killed call had finished is read.

    Args:
        bundle: whose models are prepared; all of its tasks have to be in `source`.
        source: the data that it was made from.
        settings: how.
        report: told the share of a task that is done.

    Raises:
        ValueError: data of other classes, held-out pictures that the models were trained on, or as
            `prepare_models` raises it.
        OSError: the disk refuses it.
    """
    manifest = bundle.manifest
    for task, entry in manifest.models.items():
        _check(bundle, task, entry, source)
    asked = sha256(f"{settings.model_dump_json()} {manifest.model_dump_json()}".encode())
    folder = bundle.path / MAKING / f"prepared-{asked[:16]}"
    folder.parent.mkdir(exist_ok=True)
    models = {task: bundle.model(task) for task in manifest.models}
    prepared = prepare_models(
        models, manifest.models, source, settings, manifest.seed, folder, report
    )
    whole = add_prepared(bundle, {t: p.entry for t, p in prepared.items()}, _files(prepared))
    write_card(whole, bundle.path / CARD)
    shutil.rmtree(folder.parent)
    return whole


def _files(prepared: Mapping[Task, Prepared]) -> dict[Task, bytes]:
    return {task: each.file for task, each in prepared.items()}


def _check(bundle: Bundle, task: Task, entry: ModelEntry, source: SourceData) -> None:
    """Raises ValueError where the data are not those that the model was made from."""
    if task not in source.tasks:
        raise ValueError(f"bundle {bundle.path} has a model for {task}; the data have no {task}")
    data = source.tasks[task]
    if data.classes != entry.spec.classes:
        raise ValueError(
            f"the data of {task} have the classes {', '.join(data.classes)}; those of the model "
            f"are {', '.join(entry.spec.classes)}"
        )
    if data.size != entry.spec.input_size:
        raise ValueError(
            f"the data of {task} are {data.size} pixels large; the model's input is "
            f"{entry.spec.input_size}: name a configuration with these input_sizes"
        )
    seen = set(bundle.trained_on[task]) & set(data.held_out_names)
    if seen:
        raise ValueError(
            f"the model of {task} was trained on {len(seen)} of the held-out pictures, such as "
            f"{min(seen)}: name the configuration that the bundle was made with"
        )


def prepare_models(
    models: Mapping[Task, TaskModel],
    entries: Mapping[Task, ModelEntry],
    source: SourceData,
    settings: PreparationSettings,
    seed: int,
    folder: Path,
    report: Callable[[Task, float], None],
) -> dict[Task, Prepared]:
    """Prepares each model, one after the other; what a killed call had finished is read.

    Args:
        models: source models, in evaluation mode.
        entries: what is known of them.
        source: the data that they were trained on, and that which was held out.
        settings: how.
        seed: of all that is drawn.
        folder: where finished trainings and checkpoints are kept.
        report: told the share of a task that is done.

    Raises:
        TrainingError: a loss that is not finite.
        ValueError: a kept file that is damaged.
    """
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    found = {}
    for task, model in models.items():
        data = source.tasks[task]

        def in_training(share: float, task: Task = task) -> None:
            report(task, 0.8 * share)

        def at_gate(share: float, task: Task = task) -> None:
            report(task, 0.8 + 0.2 * share)

        place = folder / str(task)
        patches = prepare_once(place, model, data.train, data.held_out, settings, seed, in_training)
        entropy = entries[task].source_entropy
        points = gate_points_once(place, model, data.held_out, settings, entropy, seed, at_gate)
        entry = PreparedEntry(
            drifts=settings.training_drifts[1:],
            source_metric=patches.record.metrics[0],
            prepared_metric=max(patches.record.metrics),
            gflops=patches.record.gflops,
            gate=points,
        )
        found[task] = Prepared(entry, patches.data)
    return found
