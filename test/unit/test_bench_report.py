"""The page of results, from result files alone: every figure that it shows is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_experiment as tiny

from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.bench.experiment import Experiment
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.pages import write_report
from patchline_ros.bench.report.tables import accuracy, answers, compute, differences, gates
from patchline_ros.bench.result import (
    ExperimentRecord,
    Gate,
    Machine,
    PartStep,
    ResultError,
    RunResult,
    Scores,
    StepCost,
    read_result,
    record_path,
    result_path,
    write_result,
)
from patchline_ros.tasks import Task

NOTHING = PartStep(frozen_forward=0, trained_forward=0, backward=0)
STEP = StepCost(
    parameters=10,
    trained_parameters=5,
    source_forward=1,
    parts={"adapter": NOTHING, "backbone": NOTHING, "head": NOTHING},
    head_input_gradient=0,
    paper=1_000_000_000,
    uncached=1,
    cached=1,
    saved_bytes=3 << 20,
    batch=4,
)


def result(row: str, seed: int, lanes: float, gflops: float, untrained: str = "") -> RunResult:
    task = tiny.task_result(
        test=Scores(source=0.4, norm=0.5, final=lanes),
        validation=[0.4, 0.6],
        kept=6,
        images=12,
        gflops={"training": gflops},
        step=STEP,
        peak_bytes=7 << 20,
        seconds=2.0,
        untrained=untrained,
    )
    return RunResult(
        declaration=tiny.config_of(row, seed),
        order=[Task.CLASSIFICATION, Task.SEGMENTATION],
        tasks={
            Task.CLASSIFICATION: task.model_copy(update={"untrained": ""}),
            Task.SEGMENTATION: task,
        },
        versions={"torch": "2"},
        machine=Machine(system="Linux", cpu="a CPU", cores=2, threads=1, workers=2, device="cpu"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rows, two seeds, as `patchline bench run` leaves them."""
    plain = tiny.EXPERIMENT
    rows = {**plain["rows"], "ours": {**plain["rows"]["ours"], "title": "our patches"}}
    experiment = Experiment.model_validate({**plain, "about": "About it.", "rows": rows})
    write_result(
        record_path(tmp_path, "tiny"), ExperimentRecord(called="tiny", experiment=experiment)
    )
    for one in (
        result("full", 0, 0.70, 40.0),
        result("full", 1, 0.72, 40.0),
        result("ours", 0, 0.73, 8.0),
        result("ours", 1, 0.77, 12.0, untrained="no frames were left"),
    ):
        seed = one.config.seed
        write_result(result_path(tmp_path, "tiny", one.config.row, seed), one)
    return tmp_path


def cells(table: str, row: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_accuracy_is_compared_with_fine_tuning_everything(folder: Path) -> None:
    results = Collected.read(folder / "tiny")
    assert results.rows == ["full", "ours"]
    head = accuracy(results).splitlines()[0]
    assert "| segmentation, mean IoU | less full |" in head
    assert cells(accuracy(results), "full")[3:] == ["71.0 ± 1.4", "-"]
    # Differences of 3 and 5 points: 4 by 12.706 standard errors of one.
    assert cells(accuracy(results), "our patches")[3:] == ["75.0 ± 2.8", "+4.0 (-8.7 to +16.7)"]
    detail = cells(differences(results), "segmentation: our patches")
    assert detail == [
        "segmentation: our patches",
        "+4.00",
        "-8.7 to +16.7",
        "0.156",
        "+3.0 to +5.0",
        "2",
    ]


def change_lanes(folder: Path, seed: int, changed: dict[str, object]) -> None:
    """Changes what a result of the row `ours` says of segmentation."""
    path = result_path(folder, "tiny", "ours", seed)
    one = read_result(path)
    lanes = one.tasks[Task.SEGMENTATION].model_copy(update=changed)
    write_result(path, one.model_copy(update={"tasks": {**one.tasks, Task.SEGMENTATION: lanes}}))


def test_what_the_label_free_gate_predicted_is_shown_beside_what_came(folder: Path) -> None:
    assert answers(Collected.read(folder / "tiny")) == []
    for seed, gain in enumerate((0.1, 0.02)):
        predicted = PredictedGain(gain=gain, error=0.03)
        final = Scores(source=0.4, norm=0.5, final=0.4 + gain)
        change_lanes(folder, seed, {"predicted": predicted, "test": final})
    (shown,) = answers(Collected.read(folder / "tiny"))
    # The second is not better by the margin and one error.
    assert cells(shown, "segmentation: our patches")[1:] == [
        "1 of 2",
        "+6.0",
        "3.0",
        "40.0",
        "46.0",
    ]
    assert "classification" not in shown


def test_what_the_gate_decided_is_shown_beside_what_it_was_worth(folder: Path) -> None:
    assert gates(Collected.read(folder / "tiny")) == []
    facts = {"running": 0.4, "error": 0.02, "frames": 9, "patch_set": "ab"}
    # The second is of a time when nothing answered without labels: the source model ran.
    for seed, (accepted, without) in enumerate(((True, 0.5), (False, None))):
        gate = Gate(
            accepted=accepted,
            candidate=0.5 - seed / 5,
            test=0.7 - seed / 5,
            without_labels=without,
            **facts,
        )
        final = Scores(source=0.4, norm=0.5, final=0.7 if accepted else 0.4)
        change_lanes(folder, seed, {"gate": gate, "test": final})
    (shown,) = gates(Collected.read(folder / "tiny"))
    assert cells(shown, "segmentation: our patches")[1:] == [
        *("1 of 2", "40.0", "40.0", "2.0"),
        *("40.0", "45.0", "60.0", "55.0"),
    ]
    assert "classification" not in shown


def test_cost_is_a_share_of_fine_tuning_everything(folder: Path) -> None:
    table = compute(Collected.read(folder / "tiny"))
    # Two tasks of 8 or 12 GFLOPs; 12 images of a GFLOP in each in the paper's accounting.
    assert cells(table, "our patches")[1:4] == ["20.0", "25.0%", "-"]
    assert cells(table, "our patches")[7:9] == ["24.0", "100.0%"]


def test_an_experiments_page_names_command_machine_and_what_was_not_trained(folder: Path) -> None:
    assert write_report(folder, folder.parent / "page.md") == folder.parent / "page.md"
    page = (folder / "tiny" / "README.md").read_text()
    assert "    patchline bench run tiny\n" in page
    assert "Seeds 0, 1. Source models: random." in page
    assert "a CPU, 2 cores, cpu, 1 thread a run, 2 at a time" in page
    assert (
        "our patches kept the source model for segmentation in 1 of 2 runs: no frames were" in page
    )
    assert "](../../page.md)" in page
    for name in ("accuracy-compute", "epochs"):
        assert f"](figures/{name}.png)" in page
        drawn = folder / "tiny" / "figures" / name
        assert drawn.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in drawn.with_suffix(".svg").read_text()


def test_the_same_results_give_the_same_bytes(folder: Path) -> None:
    drawn = [folder / "tiny" / "figures" / "epochs.svg", folder / "figures" / "compute-by-part.svg"]
    first = [write_report(folder).read_bytes(), *(path.read_bytes() for path in drawn)]
    assert first[0].startswith(b"# Results")
    assert [write_report(folder).read_bytes(), *(path.read_bytes() for path in drawn)] == first


def test_one_seed_is_shown_without_an_interval(folder: Path) -> None:
    for row in ("full", "ours"):
        result_path(folder, "tiny", row, 1).unlink()
    table = accuracy(Collected.read(folder / "tiny"))
    assert cells(table, "our patches")[3:] == ["73.0", "+3.0"]


def test_a_folder_without_results_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ResultError, match=r"there are no results in .*no NAME/exp"):
        write_report(tmp_path / "nothing")
    record_path(folder, "tiny").write_text("{}")
    with pytest.raises(ResultError, match=r"experiment\.json: called: this key is missing"):
        write_report(folder)
