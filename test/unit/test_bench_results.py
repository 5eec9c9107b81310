"""Result files, what is due, tuned rates: what is kept is used, what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_experiment as tiny
from pydantic import ValidationError

from patchline_ros.bench.experiment import Experiment, ExperimentError, Row, run_config
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import RunJob, due_runs, source_waves
from patchline_ros.bench.result import (
    Machine,
    ResultError,
    RunResult,
    read_result,
    read_results,
    result_path,
    write_result,
)
from patchline_ros.bench.tune import (
    ChosenRates,
    Trial,
    TrialJob,
    best_rate,
    choose_rates,
    due_trials,
    rates_path,
    read_rates,
    tuned_rows,
)
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.tasks import Task

MACHINE = Machine(system="s", cpu="c", cores=1, threads=1, workers=1, device="cpu")


def finished(row: str, seed: int) -> RunResult:
    return RunResult(
        declaration=tiny.config_of(row, seed),
        order=[Task.CLASSIFICATION, Task.SEGMENTATION],
        tasks={task: tiny.task_result() for task in (Task.CLASSIFICATION, Task.SEGMENTATION)},
        versions={},
        machine=MACHINE,
    )


def test_convergence_and_what_it_takes() -> None:
    result = tiny.task_result(validation=[0.2, 0.5, 0.795, 0.79, 0.8], losses=[1.0] * 4)
    assert result.converged == 2
    # Half of the epochs: of what is done in each, half; of what is done once, all.
    assert result.gflops_to_converge(cached=True) == pytest.approx(1 + 2 + (10 + 4) / 2)
    assert result.gflops_to_converge(cached=False) == pytest.approx(1 + (2 + 10 + 4) / 2)
    assert tiny.task_result(validation=[0.7, 0.5]).converged == 0


def test_result_files_are_checked(tmp_path: Path) -> None:
    path = result_path(tmp_path, "tiny", "ours", 0)
    write_result(path, finished("ours", 0))
    assert read_results(tmp_path / "tiny") == [finished("ours", 0)]
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, "schema_version": 9}))
    with pytest.raises(
        ResultError, match=r"seed-0\.json: schema_version: 9 is not allowed; known are 2 or 3"
    ):
        read_result(path)
    path.write_text(json.dumps({**plain, "mood": "good"}))
    with pytest.raises(ResultError, match=r"seed-0\.json: mood: there is no such key"):
        read_result(path)
    path.write_text("{half a file")
    with pytest.raises(
        ResultError, match=r"seed-0\.json: the whole file: something in it can't be used"
    ):
        read_result(path)
    write_result(path, finished("ours", 1))
    with pytest.raises(ResultError, match="is of row ours, seed 1: it was moved or renamed"):
        read_results(tmp_path / "tiny")
    with pytest.raises(ResultError, match="there are no results"):
        read_results(tmp_path)


def names(jobs: list[object]) -> list[str]:
    return [job.name for job in jobs if isinstance(job, RunJob | TrialJob)]


def test_finished_runs_are_not_done_again(tmp_path: Path) -> None:
    experiment, inputs = tiny.experiment(), Inputs(data=None, out=tmp_path)
    rows = ["full", "ours"]
    assert names(due_runs(experiment, inputs, rows, [0, 1], {}, False)) == [
        "full, seed 0",
        "ours, seed 0",
        "full, seed 1",
        "ours, seed 1",
    ]
    write_result(result_path(tmp_path, "tiny", "ours", 0), finished("ours", 0))
    assert "ours, seed 0" not in names(due_runs(experiment, inputs, rows, [0, 1], {}, False))
    tuned = {"ours": {Task.SEGMENTATION: 3.0}}
    with pytest.raises(ExperimentError, match=r"by another configuration of row ours.*--redo"):
        due_runs(experiment, inputs, rows, [0], tuned, False)
    assert "ours, seed 0" in names(due_runs(experiment, inputs, rows, [0], tuned, True))


def test_a_row_takes_over_anothers_rates(tmp_path: Path) -> None:
    plain = tiny.EXPERIMENT
    rows = {**plain["rows"], "uncached": {**plain["rows"]["uncached"], "rates_of": "ours"}}
    experiment = Experiment.model_validate({**plain, "rows": rows})
    inputs = Inputs(data=None, out=tmp_path)
    tuned = {"ours": {Task.SEGMENTATION: 3.0}}
    (job,) = due_runs(experiment, inputs, ["uncached"], [0], tuned, False)
    assert isinstance(job, RunJob)
    assert job.config.rates == {Task.CLASSIFICATION: 1.0, Task.SEGMENTATION: 3.0}
    assert tuned_rows(experiment, ["source", "norm", "ours", "uncached"]) == ["ours"]


def test_source_models_are_made_once_for_the_seeds_that_share_them(tmp_path: Path) -> None:
    experiment, inputs = tiny.experiment(), Inputs(data=None, out=tmp_path)
    rows = list(experiment.rows)
    first, others, tables, prepared = source_waves(experiment, inputs, rows, [0, 1])
    assert prepared == [], "no row needs any"
    # Segmentation first: from a random start the other models begin from theirs.
    assert [job.name for job in first] == [
        "source model for segmentation, seed 1",
        "source model for segmentation, seed 0",
    ]
    assert len(others) == len(tables) == 2
    shared = experiment.model_copy(
        update={"source": experiment.source.model_copy(update={"seed": 7})}
    )
    started = experiment.rows["ours"].model_copy(update={"start": "prepared"})
    shared = shared.model_copy(
        update={"preparation": PreparationSettings(), "rows": {**experiment.rows, "own": started}}
    )
    waves = source_waves(shared, inputs, list(shared.rows), [0, 1])
    assert [len(wave) for wave in waves] == [1, 1, 1, len(shared.tasks)]
    assert source_waves(shared, inputs, rows, [0, 1])[-1] == [], "of these rows none needs any"


def test_a_preparation_is_made_once_for_the_rows_that_leave_out_the_same(tmp_path: Path) -> None:
    plain = tiny.EXPERIMENT
    started = {"start": "prepared", "leave_out": ["fog"]}
    rows = {**plain["rows"], "without": started, "also": started, "all": {"start": "prepared"}}
    experiment = Experiment.model_validate({**plain, "rows": rows, "preparation": {}})
    jobs = source_waves(experiment, Inputs(data=None, out=tmp_path), list(rows), [0])[-1]
    assert [job.name for job in jobs] == [
        f"prepared patches for {task}{without}, seed 0"
        for task in experiment.tasks
        for without in (" without fog", "")
    ]
    config = run_config(experiment, "without", 0, {}, "random")
    assert config.preparation == PreparationSettings(leave_out=("fog",))
    with pytest.raises(ValidationError, match="leave_out is for rows that start from prepared"):
        Row(leave_out=("fog",))


def test_the_best_rate_wins_and_equal_ones_are_near_one() -> None:
    assert best_rate({1 / 3: 0.5, 1.0: 0.4, 3.0: 0.6}) == 3.0
    assert best_rate({0.1: 0.5, 3.0: 0.5, 10.0: 0.5}) == 3.0
    assert best_rate({1 / 3: 0.5, 1.0: 0.5, 3.0: 0.5}) == 1.0


def test_rates_are_chosen_over_the_tuning_seeds_and_kept(tmp_path: Path) -> None:
    plain = {**tiny.EXPERIMENT, "tuning": {"rates": [1, 3], "seeds": [8, 9]}}
    experiment = Experiment.model_validate(plain)
    inputs = Inputs(data=None, out=tmp_path)
    jobs = due_trials(experiment, inputs, ["ours"], False)
    assert names(jobs) == [f"ours at rate-{r}, seed {s}" for r in (1, 3) for s in (8, 9)]
    for job in jobs:
        assert isinstance(job, TrialJob)
        rate, seed = job.config.rates[Task.SEGMENTATION], job.config.seed
        lanes = {(1, 8): 0.9, (1, 9): 0.1, (3, 8): 0.6, (3, 9): 0.6}[int(rate), seed]
        validation = {Task.SEGMENTATION: lanes, Task.CLASSIFICATION: 0.5}
        write_result(job.path, Trial(declaration=job.config, validation=validation))
    assert due_trials(experiment, inputs, ["ours"], False) == []
    write_result(
        rates_path(tmp_path, "tiny"),
        ChosenRates(experiment="tiny", rates={"full": {Task.SEGMENTATION: 1.0}}),
    )
    choose_rates(experiment, inputs, ["ours"])
    chosen = read_rates(tmp_path, "tiny")
    assert chosen.rates["ours"] == {Task.CLASSIFICATION: 1.0, Task.SEGMENTATION: 3.0}
    assert chosen.validation["ours"][Task.SEGMENTATION] == {"1": 0.5, "3": 0.6}
    assert chosen.rates["full"] == {Task.SEGMENTATION: 1.0}
    longer = experiment.model_copy(
        update={"training": experiment.training.model_copy(update={"epochs": 9})}
    )
    with pytest.raises(ExperimentError, match="another configuration of row ours; --redo"):
        due_trials(longer, inputs, ["ours"], False)
    assert len(due_trials(longer, inputs, ["ours"], True)) == 4
    rates_path(tmp_path, "tiny").write_text('{"experiment": "other"}')
    with pytest.raises(ResultError, match="are those of other, not of tiny"):
        read_rates(tmp_path, "tiny")
