"""The prepared patches that a bundle carries, with what their label-free gate is fitted to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from patchline_ros.bundle import CARD, Bundle
from patchline_ros.files import remove_leftovers
from patchline_ros.jobs.scheduler import Executor, run_to_end
from patchline_ros.manifest import ModelEntry, PreparedEntry
from patchline_ros.offline.bundle_writing import add_prepared
from patchline_ros.offline.card import write_card
from patchline_ros.offline.job_inputs import Inputs
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.preparation_job import PreparationFacts, PreparationJob
from patchline_ros.offline.prepared_patches import read_gate_points, read_patches
from patchline_ros.offline.sources import SourceData
from patchline_ros.offline.stages import MAKING, inputs_key
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
    executor: Executor,
    report: Callable[[Task, float], None],
) -> Bundle:
    """Adds prepared patches to a bundle that is whole already; its source models stay as they are.

    Until the last moment the bundle is what it was, and what a killed call had finished is read.

    Args:
        bundle: whose models are prepared; all of its tasks have to be in `source`.
        source: the data that it was made from.
        settings: how.
        executor: does the jobs.
        report: told the share of a task that is done.

    Raises:
        ValueError: data of other classes, held-out pictures that the models were trained on, or as
            `prepare_models` raises it.
        OSError: the disk refuses it.
    """
    manifest = bundle.manifest
    for task, entry in manifest.models.items():
        check_source(bundle, task, entry, source)
    asked = inputs_key(source, f"{settings.model_dump_json()} {manifest.model_dump_json()}", None)
    folder = bundle.path / MAKING / f"prepared-{asked[:16]}"
    folder.parent.mkdir(exist_ok=True)
    models = {task: bundle.model(task) for task in manifest.models}
    prepared = prepare_models(
        models, manifest.models, source, settings, manifest.seed, folder, executor, report
    )
    whole = add_prepared(bundle, {t: p.entry for t, p in prepared.items()}, _files(prepared))
    write_card(whole, bundle.path / CARD)
    shutil.rmtree(folder.parent)
    return whole


def _files(prepared: Mapping[Task, Prepared]) -> dict[Task, bytes]:
    return {task: each.file for task, each in prepared.items()}


def check_source(bundle: Bundle, task: Task, entry: ModelEntry, source: SourceData) -> None:
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
    executor: Executor,
    report: Callable[[Task, float], None],
) -> dict[Task, Prepared]:
    """Prepares each model in a job of its own; what a killed call had finished is read.

    A job has one PyTorch thread, so that the result does not depend on how many run side by side.

    Args:
        models: source models, in evaluation mode.
        entries: what is known of them.
        source: the data that they were trained on, and that which was held out.
        settings: how.
        seed: of all that is drawn.
        folder: where inputs, finished trainings and checkpoints are kept.
        executor: does the jobs.
        report: told the share of a task that is done.

    Raises:
        ValueError: a job that failed, such as by a loss that is not finite, or a kept file that is
            damaged; all others are done then, and on disk.
        OSError: the disk refuses the inputs.
    """
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    jobs = {task: PreparationJob(folder.resolve() / str(task)) for task in models}
    due = {task: job for task, job in jobs.items() if not job.is_done}
    for task, job in due.items():
        model, data = models[task], source.tasks[task]
        facts = PreparationFacts(
            spec=model.spec,
            settings=settings,
            source_entropy=entries[task].source_entropy,
            seed=seed,
        )
        job.write_inputs(Inputs(facts, model, data.train, data.held_out))
    for task in jobs:
        report(task, 0.0 if task in due else 1.0)
    _run(due, executor, report)
    return {task: _read(job.place, settings) for task, job in jobs.items()}


def _run(
    jobs: Mapping[Task, PreparationJob], executor: Executor, report: Callable[[Task, float], None]
) -> None:
    """Does all jobs that can be done; ValueError: others failed."""
    tasks = list(jobs)
    failures = run_to_end(
        list(jobs.values()), executor, lambda number, share: report(tasks[number], share)
    )
    if failures:
        raise ValueError(
            "; ".join(f"{tasks[i]} can't be prepared: {why}" for i, why in sorted(failures.items()))
        )


def _read(place: Path, settings: PreparationSettings) -> Prepared:
    """What a job left there."""
    patches = read_patches(place)
    entry = PreparedEntry(
        drifts=settings.training_drifts[1:],
        source_metric=patches.record.metrics[0],
        prepared_metric=max(patches.record.metrics),
        gflops=patches.record.gflops,
        gate=read_gate_points(place),
    )
    return Prepared(entry, patches.data)
