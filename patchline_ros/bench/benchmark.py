"""The commands `bench run` and `bench tune`: choose rows and seeds, make source models, run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.status import Status

from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.experiment_files import find_experiment
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import due_runs, patch_tables, scene_of, source_waves
from patchline_ros.bench.result import ExperimentRecord, record_path, write_result
from patchline_ros.bench.tune import choose_rates, due_trials, read_rates, tuned_rows
from patchline_ros.bundle import Bundle
from patchline_ros.host import all_cores
from patchline_ros.jobs.executors import executor_at
from patchline_ros.jobs.scheduler import Executor, Job, run_jobs
from patchline_ros.terminal import terminal
from patchline_ros.word_lists import comma_separated


@dataclass(frozen=True)
class BenchOptions:
    """The options of `bench run` and `bench tune`, as they were given."""

    experiment: str
    data: Path | None
    bundle: Path | None
    weights: str
    out: Path
    seeds: str | None
    rows: str | None
    workers: int | None
    ray_address: str | None
    device: str
    redo: bool = False


@dataclass(frozen=True)
class Plan:
    """What the options ask for, checked."""

    experiment: Experiment
    inputs: Inputs
    rows: tuple[str, ...]
    executor: Executor
    console: Console


def _seeds(given: str | None) -> tuple[int, ...]:
    """Raises ExperimentError where a seed is no whole number."""
    parts = comma_separated(given)
    wrong = [part for part in parts if not part.isdigit()]
    if wrong:
        raise ExperimentError(f"--seeds: {wrong[0]!r} is no whole number; write 0,1,2")
    return tuple(int(part) for part in parts)


def make_plan(options: BenchOptions) -> Plan:
    """Checks the options, and that the scene's data are there, before anything is begun.

    Raises:
        ExperimentError: an option or the experiment's file is wrong.
        ValueError: data are missing.
    """
    experiment = find_experiment(options.experiment)
    if options.device not in {"cpu", "cuda"}:
        raise ExperimentError(f"--device {options.device!r} is not known; write cpu or cuda")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ExperimentError("--device cuda: PyTorch sees no GPU here; write --device cpu")
    workers = options.workers or all_cores()
    inputs = Inputs(
        data=options.data,
        out=options.out,
        weights=options.weights,
        bundle=options.bundle,
        device=options.device,
        workers=workers,
    )
    if experiment.preparation == "bundle":
        _require_prepared(experiment, options.bundle)
    rows = comma_separated(options.rows) or tuple(experiment.rows)
    for row in rows:
        experiment.row(row)
    console = terminal()
    with console.status(f"reading {experiment.scene}"):
        scene_of(experiment, inputs, experiment.seeds[0])
    executor = executor_at(options.ray_address, workers, gpus=int(options.device == "cuda"))
    return Plan(experiment, inputs, rows, executor, console)


def _require_prepared(experiment: Experiment, bundle: Path | None) -> None:
    """Raises ExperimentError where there is no bundle with prepared patches for all tasks."""
    if bundle is None:
        raise ExperimentError(
            f"{experiment.name} starts from a bundle's prepared patches; name one with --bundle"
        )
    prepared = Bundle.load(bundle).manifest.prepared
    missing = [str(task) for task in experiment.tasks if task not in prepared]
    if missing:
        raise ExperimentError(
            f"the bundle {bundle} has no prepared patches for {' and '.join(missing)}; make them "
            f"with: patchline bundle prepare {bundle}"
        )


def make_sources(plan: Plan, seeds: Sequence[int]) -> list[str]:
    """Makes the source models and affinity tables that are missing; a line for each failure."""
    titles = ("source models, first task", "source models, others", "affinity", "preparation")
    waves = source_waves(plan.experiment, plan.inputs, plan.rows, seeds)
    for title, jobs in zip(titles, waves, strict=True):
        failures = run_jobs(title, jobs, plan.executor, plan.console)
        if failures:
            return failures
    return []


def run_with_sources(
    plan: Plan, title: str, seeds: Sequence[int], jobs: Sequence[Job]
) -> list[str]:
    """Makes the source models and does the jobs that need them; a line for each failure."""
    if not jobs:
        return []
    with closing(plan.executor):
        failures = make_sources(plan, seeds)
        if failures:
            return failures
        _make_patch_tables(plan, jobs)
        return run_jobs(title, jobs, plan.executor, plan.console)


def _make_patch_tables(plan: Plan, jobs: Sequence[Job]) -> None:
    """Of the runs of the product, where no bundle has one."""
    for tables in patch_tables(jobs):
        with plan.console.status("patch table") as status:

            def show(share: float, status: Status = status) -> None:
                status.update(f"patch table {share:.0%}")

            tables.make(plan.executor, show)


def run_experiment(options: BenchOptions) -> list[str]:
    """Runs each row with each seed that has no result yet.

    Returns:
        A line for each one that failed.

    Raises:
        ExperimentError: an option is wrong, or a result is of another configuration of its row.
        ValueError: data are missing, a result is broken.
    """
    plan = make_plan(options)
    experiment, inputs = plan.experiment, plan.inputs
    seeds = _seeds(options.seeds) or experiment.seeds
    write_result(
        record_path(inputs.out, experiment.name),
        ExperimentRecord(called=Path(options.experiment).name, experiment=experiment),
    )
    rates = read_rates(inputs.out, experiment.name).rates
    jobs = due_runs(experiment, inputs, plan.rows, seeds, rates, options.redo)
    done = len(plan.rows) * len(seeds) - len(jobs)
    if done:
        plan.console.print(f"{done} of {len(plan.rows) * len(seeds)} runs are finished already")
    failures = run_with_sources(plan, "runs", seeds, jobs)
    plan.console.print(f"results are in {inputs.out / experiment.name}")
    return failures


def tune_experiment(options: BenchOptions) -> list[str]:
    """Searches for the learning rates of the rows, and keeps them for the runs.

    Returns:
        A line for each training that failed; then nothing is chosen.

    Raises:
        ExperimentError: an option is wrong, or a trial is of another configuration of its row.
        ValueError: data are missing, a trial is broken.
    """
    plan = make_plan(options)
    experiment, inputs = plan.experiment, plan.inputs
    rows = tuned_rows(experiment, plan.rows)
    jobs = due_trials(experiment, inputs, rows, options.redo)
    failures = run_with_sources(plan, "trials", experiment.tuning.seeds, jobs)
    if failures:
        return failures
    chosen = choose_rates(experiment, inputs, rows)
    for row in rows:
        factors = ", ".join(f"{task} {rate:.3g}" for task, rate in chosen.rates[row].items())
        plan.console.print(f"{row}: {factors}")
    return []
