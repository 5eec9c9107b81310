"""The search for learning rates: the same few factors for every row, by cross-validation over the
frames to adapt on.

OUT/EXPERIMENT/tuning/ROW/rate-FACTOR/seed-N.json     one training of all tasks
OUT/EXPERIMENT/rates.json                             what was chosen, and why
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field

from patchline_ros.bench.benchmark_run import adaptation_of, settings_of
from patchline_ros.bench.experiment import Experiment, ExperimentError, RunConfig, run_config
from patchline_ros.bench.inputs import Inputs, origin_of
from patchline_ros.bench.prepared import sources_of_run
from patchline_ros.bench.result import ResultError, read_checked, write_result
from patchline_ros.bench.scene import Scene, inner_folds
from patchline_ros.bench.scenes import load_tuning_scene
from patchline_ros.bench.sources import SourceStore
from patchline_ros.config_files import StrictModel
from patchline_ros.jobs.scheduler import Job, ReportProgress
from patchline_ros.tasks import Task
from patchline_ros.vision.evaluation import evaluate

SCHEMA: Final = 2


class Trial(StrictModel):
    """One row trained at one factor with one seed."""

    schema_version: Literal[2] = SCHEMA
    config: RunConfig = Field(alias="declaration")
    """What was trained; files have called it `declaration` from the first."""
    validation: dict[Task, float]
    """Metric of each task, mean over the two inner folds; no frame that a run tests on
    was looked at."""


class ChosenRates(StrictModel):
    """What a search came to."""

    schema_version: Literal[2] = SCHEMA
    experiment: str
    rates: dict[str, dict[Task, float]] = Field(default_factory=dict)
    """[row][task]: the factor on the learning rates."""
    validation: dict[str, dict[Task, dict[str, float]]] = Field(default_factory=dict)
    """[row][task][factor]: metric on the inner folds, mean over the tuning seeds."""


@lru_cache(maxsize=1)
def _scene(name: str, data: Path | None, seed: int) -> Scene:
    """Kept for the next trials of this process."""
    return load_tuning_scene(name, data, seed)


@dataclass(frozen=True)
class TrialJob:
    """Trains a row at one factor."""

    experiment: Experiment
    inputs: Inputs
    config: RunConfig
    path: Path

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.config.row} at {self.path.parent.name}, seed {self.config.seed}"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves a trial."""
        seed = self.config.seed
        scene = _scene(self.experiment.scene, self.inputs.data, seed)
        store = SourceStore(self.experiment, self.inputs, scene, seed)
        table = store.affinity(self.config.settings.affinity)
        sources = sources_of_run(self.config, store, scene, self.inputs.bundle)
        device = self.inputs.device
        found: dict[Task, list[float]] = {task: [] for task in self.experiment.tasks}
        settings, tasks = settings_of(self.config, hold_out=False), self.experiment.tasks
        folds = inner_folds(scene)
        for done, fold in enumerate(folds, start=1):
            adaptation = adaptation_of(settings, fold, sources, table, tasks, device)
            for task in adaptation.order:
                model = adaptation.adapt(task).model
                found[task].append(evaluate(model, fold.tasks[task].test))
            report(done / len(folds))
        validation = {task: float(np.mean(metrics)) for task, metrics in found.items()}
        write_result(self.path, Trial(declaration=self.config, validation=validation))


def tuned_rows(experiment: Experiment, rows: Sequence[str]) -> list[str]:
    """The rows that are searched for: those that train, and take no other's rates."""
    return [
        row
        for row in rows
        if experiment.row(row).method is not None and not experiment.row(row).rates_of
    ]


def _trials(experiment: Experiment, inputs: Inputs, row: str) -> dict[tuple[float, int], TrialJob]:
    """All trials of a row, by factor and seed."""
    origin = origin_of(experiment, inputs)
    folder = inputs.out / experiment.name / "tuning" / row
    return {
        (rate, seed): TrialJob(
            experiment,
            inputs,
            run_config(experiment, row, seed, dict.fromkeys(experiment.tasks, rate), origin),
            folder / f"rate-{rate:.4g}" / f"seed-{seed}.json",
        )
        for rate in experiment.tuning.rates
        for seed in experiment.tuning.seeds
    }


def _fits(job: TrialJob) -> bool:
    kept = read_checked(job.path, Trial, "trial").config
    return kept.model_dump() == job.config.model_dump()


def due_trials(
    experiment: Experiment, inputs: Inputs, rows: Sequence[str], redo: bool
) -> list[Job]:
    """The trials that are not done yet.

    Raises:
        ExperimentError: one was made by another configuration of its row, and is not to be redone.
        ResultError: a trial's file is broken.
    """
    due: list[Job] = []
    for row in rows:
        for job in _trials(experiment, inputs, row).values():
            if not job.path.is_file():
                due.append(job)
            elif not _fits(job):
                if not redo:
                    raise ExperimentError(
                        f"{job.path} was made by another configuration of row {row}; --redo makes "
                        "such trials again"
                    )
                due.append(job)
    return due


def best_rate(validation: Mapping[float, float]) -> float:
    """The factor with the best metric; of equal ones that which is nearest to 1."""
    return min(validation, key=lambda rate: (-validation[rate], abs(math.log(rate)), rate))


def choose_rates(experiment: Experiment, inputs: Inputs, rows: Sequence[str]) -> ChosenRates:
    """Reads the trials of these rows, all of them done, and writes rates.json.

    Other rows that are in the file already stay as they are.
    """
    chosen = read_rates(inputs.out, experiment.name)
    rates, table = dict(chosen.rates), dict(chosen.validation)
    for row in rows:
        trials = {
            key: read_checked(job.path, Trial, "trial")
            for key, job in _trials(experiment, inputs, row).items()
        }
        means = {
            task: {
                rate: float(
                    np.mean(
                        [trials[rate, seed].validation[task] for seed in experiment.tuning.seeds]
                    )
                )
                for rate in experiment.tuning.rates
            }
            for task in experiment.tasks
        }
        rates[row] = {task: best_rate(validation) for task, validation in means.items()}
        table[row] = {
            task: {f"{rate:.4g}": value for rate, value in validation.items()}
            for task, validation in means.items()
        }
    whole = ChosenRates(experiment=experiment.name, rates=rates, validation=table)
    write_result(rates_path(inputs.out, experiment.name), whole)
    return whole


def rates_path(out: Path, experiment: str) -> Path:
    """Path of the chosen rates."""
    return out / experiment / "rates.json"


def read_rates(out: Path, experiment: str) -> ChosenRates:
    """What a search came to; nothing where there was none.

    Raises:
        ResultError: the file is broken or of another experiment.
    """
    path = rates_path(out, experiment)
    if not path.is_file():
        return ChosenRates(experiment=experiment)
    chosen = read_checked(path, ChosenRates, "rates")
    if chosen.experiment != experiment:
        raise ResultError(f"rates {path} are those of {chosen.experiment}, not of {experiment}")
    return chosen
