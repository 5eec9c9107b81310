"""What a benchmark has to do, as jobs: source models first, then runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from patchline_ros.bench.benchmark_run import run_row
from patchline_ros.bench.experiment import Experiment, ExperimentError, RunConfig, run_config
from patchline_ros.bench.inputs import Inputs, origin_of
from patchline_ros.bench.predicted import (
    CarKnowledge,
    PatchTables,
    patches_on,
    with_cost,
    with_patches,
)
from patchline_ros.bench.prepared import PreparedStore, sources_of_run
from patchline_ros.bench.result import RunResult, read_result, result_path, write_result
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.scenes import load_scene
from patchline_ros.bench.sources import SourceStore
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.jobs.scheduler import Job, ReportProgress
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.source_training import in_training_order
from patchline_ros.tasks import Task

Rates = Mapping[str, Mapping[Task, float]]
"""Tuned factors on the learning rates: [row][task]."""


@lru_cache(maxsize=2)
def _scene(name: str, data: Path | None, seed: int) -> Scene:
    """Kept for the next jobs of this process."""
    return load_scene(name, data, seed)


def scene_of(experiment: Experiment, inputs: Inputs, seed: int) -> Scene:
    """The frames of a run.

    Raises:
        ValueError: there is no such scene, or its data are missing.
    """
    return _scene(experiment.scene, inputs.data, seed)


def store_of(experiment: Experiment, inputs: Inputs, seed: int) -> SourceStore:
    """The source models of a run."""
    return SourceStore(experiment, inputs, scene_of(experiment, inputs, seed), seed)


@dataclass(frozen=True)
class SourceJob:
    """Makes one source model."""

    experiment: Experiment
    inputs: Inputs
    seed: int
    task: Task

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"source model for {self.task}, seed {self.seed}"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves it in OUT/sources."""
        store_of(self.experiment, self.inputs, self.seed).make(self.task, report)


@dataclass(frozen=True)
class AffinityJob:
    """Compares the source models of a seed."""

    experiment: Experiment
    inputs: Inputs
    seed: int

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"affinity, seed {self.seed}"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves a table for each measure that a row needs in OUT/sources."""
        store = store_of(self.experiment, self.inputs, self.seed)
        measures = sorted({row.affinity for row in self.experiment.rows.values()})
        for done, measure in enumerate(measures, start=1):
            store.affinity(measure)
            report(done / len(measures))


@dataclass(frozen=True)
class PreparationJob:
    """Trains the patches that rows of a seed start from, of one task."""

    experiment: Experiment
    inputs: Inputs
    seed: int
    task: Task
    settings: PreparationSettings

    @property
    def name(self) -> str:
        """Name in messages."""
        left_out = ", ".join(self.settings.leave_out)
        without = f" without {left_out}" if left_out else ""
        return f"prepared patches for {self.task}{without}, seed {self.seed}"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves them in OUT/sources."""
        scene = scene_of(self.experiment, self.inputs, self.seed)
        store = store_of(self.experiment, self.inputs, self.seed)
        PreparedStore(store, scene, self.settings).make(self.task, report)


@dataclass(frozen=True)
class RunJob:
    """Runs a row with a seed."""

    experiment: Experiment
    inputs: Inputs
    config: RunConfig

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.config.row}, seed {self.config.seed}"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves a result file."""
        seed = self.config.seed
        scene = scene_of(self.experiment, self.inputs, seed)
        store = store_of(self.experiment, self.inputs, seed)
        sources = sources_of_run(self.config, store, scene, self.inputs.bundle)
        choice = None
        if self.config.settings.product:
            car = self._car(store, scene)
            choice, affinity = car.choice, car.affinity
            sources = {task: sources[task].with_entropy(car.entropies[task]) for task in sources}
        else:
            affinity = store.affinity(self.config.settings.affinity)
            if self.config.settings.predict_patches and self.inputs.bundle is not None:
                choice = patches_on(Bundle.load(self.inputs.bundle), scene)
        result = run_row(
            self.config,
            scene,
            sources,
            affinity,
            patches=choice.patches if choice and self.config.settings.product else None,
            device=self.inputs.device,
            workers=self.inputs.workers,
            report=report,
        )
        if choice is not None:
            result = with_cost(result, choice)
        path = path_of(self.config, self.inputs)
        write_result(path, result)
        _write_pictures(path, self.config, scene)

    def _car(self, store: SourceStore, scene: Scene) -> CarKnowledge:
        if self.inputs.bundle is not None:
            return CarKnowledge.of_bundle(Bundle.load(self.inputs.bundle), scene)
        tables = PatchTables(store, scene, self.experiment.predictor)
        return CarKnowledge.of_sources(store, tables, scene)


def _write_pictures(result: Path, config: RunConfig, scene: Scene) -> None:
    """Lists the pictures of each part of a scene, once for all rows with this seed."""
    place = result.parent.parent / f"pictures-{config.seed}.json"
    if place.is_file():
        return
    names = {str(task): there.names for task, there in scene.tasks.items()}
    # First into the row's folder: other rows may be writing the same list now.
    aside = result.with_name(place.name)
    write_file(aside, f"{json.dumps(names, indent=1)}\n".encode())
    aside.replace(place)


def path_of(config: RunConfig, inputs: Inputs) -> Path:
    """Path of the run's result."""
    return result_path(inputs.out, config.experiment, config.row, config.seed)


def source_waves(
    experiment: Experiment, inputs: Inputs, rows: Sequence[str], seeds: Sequence[int]
) -> list[list[Job]]:
    """All that runs of these rows with these seeds start from; a wave needs the ones before it.

    The models that others may start from come first. Seeds that share their models are one.
    """
    by_source = {experiment.source_seed(seed): seed for seed in reversed(seeds)}
    first, *others = in_training_order(experiment.tasks)
    return [
        [SourceJob(experiment, inputs, seed, first) for seed in by_source.values()],
        [SourceJob(experiment, inputs, seed, t) for seed in by_source.values() for t in others],
        [AffinityJob(experiment, inputs, seed) for seed in by_source.values()],
        [
            PreparationJob(experiment, inputs, seed, task, settings)
            for seed in by_source.values()
            for task in experiment.tasks
            for settings in experiment.preparations(rows)
        ],
    ]


def patch_tables(jobs: Sequence[Job]) -> list[PatchTables]:
    """Those that runs of the product need: none where a bundle has one."""
    due = {}
    for job in jobs:
        product = isinstance(job, RunJob) and job.config.settings.product
        if isinstance(job, RunJob) and product and job.inputs.bundle is None:
            experiment, seed = job.experiment, job.config.seed
            scene = scene_of(experiment, job.inputs, seed)
            store = store_of(experiment, job.inputs, seed)
            due[experiment.source_seed(seed)] = PatchTables(store, scene, experiment.predictor)
    return list(due.values())


def _same(kept: RunResult, config: RunConfig) -> bool:
    return kept.config.model_dump() == config.model_dump()


def _config_of_run(
    experiment: Experiment, inputs: Inputs, row: str, seed: int, rates: Rates, origin: str
) -> RunConfig:
    tuned = rates.get(experiment.row(row).rates_of or row, {})
    config = run_config(experiment, row, seed, tuned, origin)
    if not config.settings.predict_patches:
        return config
    if inputs.bundle is None:
        raise ExperimentError(f"row {row} takes the predictor of a bundle; name one with --bundle")
    choice = patches_on(Bundle.load(inputs.bundle), scene_of(experiment, inputs, seed))
    return with_patches(config, choice.patches)


def due_runs(
    experiment: Experiment,
    inputs: Inputs,
    rows: Sequence[str],
    seeds: Sequence[int],
    rates: Rates,
    redo: bool,
) -> list[Job]:
    """The runs that have no result yet, seed by seed.

    Raises:
        ExperimentError: a row is not known; a result is of another configuration of its row and is
            not to be done again; or a row takes a bundle's predictor, and there is no bundle.
        ResultError: a result file is broken.
    """
    origin = origin_of(experiment, inputs)
    jobs: list[Job] = []
    for seed in seeds:
        for row in rows:
            config = _config_of_run(experiment, inputs, row, seed, rates, origin)
            path = path_of(config, inputs)
            if path.is_file() and not _same(read_result(path), config):
                if not redo:
                    raise ExperimentError(
                        f"{path} was made by another configuration of row {row} (settings, rates "
                        "or source models differ); --redo makes such results again"
                    )
            elif path.is_file():
                continue
            jobs.append(RunJob(experiment, inputs, config))
    return jobs
