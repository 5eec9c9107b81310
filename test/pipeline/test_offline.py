"""From source data to a bundle, on data small enough for a test."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from patchline_ros.adaptation.similarity import MEASURES
from patchline_ros.bundle import CARD, MANIFEST, Bundle
from patchline_ros.jobs.scheduler import ProcessPool
from patchline_ros.offline.bundle_calibration import calibrate
from patchline_ros.offline.bundle_making import Report, drift_reference, make_bundle
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.offline_run import (
    OfflineError,
    OfflineOptions,
    choose_weights,
    run_offline,
)
from patchline_ros.offline.predictor_data import PredictorSettings
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.offline.stages import MAKING
from patchline_ros.sim import LANE_CLASSES, OBJECT_CLASSES, SIGN_CLASSES, RoadSimulator
from patchline_ros.tasks import Task
from patchline_ros.vision import training
from patchline_ros.vision.inputs import resized

RECIPE = Recipe(
    width=0.25, epochs=dict.fromkeys(Task, 1), batch_size=8, drift_window=4, threads=1, seed=3
)
PREDICTOR = PredictorSettings(drifts=(("fog", 0.5), ("noise", 0.9)), counts=(0, 2))


def config_of(source: SourceData, recipe: Recipe) -> OfflineConfig:
    return OfflineConfig.model_validate(
        {
            "name": "b",
            "sources": {task: {"set": "sim"} for task in source.tasks},
            "recipe": recipe,
            "predictor": PREDICTOR,
        }
    )


def make(source: SourceData, recipe: Recipe, out: Path, report: Report = lambda *_: None) -> Bundle:
    with closing(ProcessPool(1)) as processes:
        return make_bundle(source, config_of(source, recipe), None, out, processes, report)


@pytest.fixture(scope="module")
def source() -> SourceData:
    road = RoadSimulator(5, (96, 128))
    frames = [road.frame(i * 5) for i in range(24)]
    classes = {
        Task.CLASSIFICATION: SIGN_CLASSES,
        Task.DETECTION: OBJECT_CLASSES,
        Task.SEGMENTATION: LANE_CLASSES,
    }
    return SourceData(
        "sim",
        {
            task: TaskData(
                classes=classes[task],
                names=[frame.name for frame in frames[:16]],
                train=[resized(frame.samples[task], (64, 64)) for frame in frames[:16]],
                held_out=[resized(frame.samples[task], (64, 64)) for frame in frames[16:]],
                held_out_names=[frame.name for frame in frames[16:]],
            )
            for task in Task
        },
    )


@pytest.fixture(scope="module")
def stages() -> list[str]:
    """What was told while the bundle below was made."""
    return []


@pytest.fixture(scope="module")
def whole(
    source: SourceData, stages: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Made without a pause."""
    return make(
        source,
        RECIPE,
        tmp_path_factory.mktemp("offline") / "b",
        lambda stage, *_: stages.append(stage),
    )


def test_a_bundle_holds_what_was_made(source: SourceData, whole: Bundle, stages: list[str]) -> None:
    assert Bundle.load(whole.path).manifest == whole.manifest
    trained = {f"train {task}" for task in Task}
    assert {*trained, "affinity", "predictor data"} <= set(stages)
    assert set(whole.manifest.models) == set(Task)
    assert whole.trained_on[Task.CLASSIFICATION] == source.tasks[Task.CLASSIFICATION].names
    counts = [step.patches for step in whole.manifest.patch_table]
    assert counts == sorted(counts)
    assert whole.held_out[Task.SEGMENTATION] == source.tasks[Task.SEGMENTATION].held_out_names
    assert [len(pictures) for pictures in whole.examples.values()] == [4, 4, 4]
    assert set(whole.manifest.affinity) == set(MEASURES)
    assert [label.corruption for label in whole.manifest.drift_labels] == ["fog", "noise"]
    assert whole.manifest.config["recipe"] == RECIPE.model_dump(mode="json")
    assert (whole.path / CARD).is_file() and CARD not in whole.manifest.files


def test_a_bundle_is_calibrated_to_another_rate_of_false_alarms(
    source: SourceData, whole: Bundle, tmp_path: Path
) -> None:
    copy = Bundle.load(shutil.copytree(whole.path, tmp_path / "b"))
    same = calibrate(copy, source, config_of(source, RECIPE))
    assert same.manifest == whole.manifest and Bundle.load(copy.path).manifest == whole.manifest
    calm = RECIPE.model_copy(update={"drift_false_alarm": 10 * RECIPE.drift_false_alarm})
    calmer = calibrate(copy, source, config_of(source, calm)).manifest
    assert calmer == Bundle.load(copy.path).manifest
    assert calmer.drift.threshold > whole.manifest.drift.threshold
    assert calmer.drift_labels == whole.manifest.drift_labels
    # What is read is what was measured.
    pictures = source.tasks[Task.SEGMENTATION].train
    measured = drift_reference(copy.model(Task.SEGMENTATION), pictures, calm)
    read = Bundle.load(copy.path).drift_reference
    assert (read.whitening.matrix == measured.whitening.matrix).all()
    assert (read.features == measured.features).all()
    assert (read.null == measured.null).all()
    assert calmer.config["recipe"] == calm.model_dump(mode="json")
    with pytest.raises(ValueError, match="has a model for segmentation; the data have no"):
        calibrate(copy, SourceData("sim", {}), config_of(source, calm))
    assert Bundle.load(copy.path).manifest == calmer


def test_a_bundle_may_have_fewer_tasks_than_the_one_before(
    source: SourceData, whole: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "b")
    tasks = {task: source.tasks[task] for task in (Task.DETECTION, Task.CLASSIFICATION)}
    make(replace(source, tasks=tasks), RECIPE, tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    assert set(bundle.manifest.models) == set(tasks)
    assert bundle.manifest.drift.task is Task.DETECTION
    assert list(bundle.manifest.training_affinity) == ["classification detection"]
    # The models of a bundle that was there before are gone.
    assert not (tmp_path / "b" / "segmentation.safetensors").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 17}, "16 classification pictures are fewer than one batch of 17"),
        ({"drift_window": 9}, "16 segmentation pictures .* fewer than two windows of 9"),
        ({"drift_tap": 8}, "drift_tap is 8; mobilenet_v2 has the taps 0 to 7"),
        ({"learning_rate": 1e9}, "training for segmentation went wrong at a learning rate of"),
    ],
)
def test_what_can_not_end_well_is_said_before_or_at_once(
    changed: dict[str, float], message: str, source: SourceData, tmp_path: Path
) -> None:
    stages: list[str] = []
    with pytest.raises(ValueError, match=message):
        make(
            source,
            RECIPE.model_copy(update=changed),
            tmp_path / "b",
            lambda stage, *_: stages.append(stage),
        )
    assert set(stages) <= {"train segmentation"}


def test_one_class_is_too_few_for_a_softmax(source: SourceData, tmp_path: Path) -> None:
    signs = replace(source.tasks[Task.CLASSIFICATION], classes=("stop",))
    with pytest.raises(
        ValueError, match="the model for classification can't be built: one class"
    ) as raised:
        make(
            replace(source, tasks={**source.tasks, Task.CLASSIFICATION: signs}),
            RECIPE,
            tmp_path / "b",
        )
    assert "\n" not in str(raised.value)


STOPS = [("train segmentation", 0.5), ("train classification", 1.0), ("predictor data", 0.25)]
"""Stage and share at which it is interrupted, one after the other."""


def test_what_was_interrupted_goes_on_with_the_same_result(
    source: SourceData,
    whole: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    out = tmp_path / whole.path.name
    attempts: list[list[float]] = []

    def attempt(stop: tuple[str, float] | None) -> None:
        shares: list[float] = []
        attempts.append(shares)

        def report(stage: str, share: float, _: str) -> None:
            if stage == "train segmentation":
                shares.append(share)
            if (stage, share) == stop:
                raise KeyboardInterrupt

        make(source, RECIPE, out, report)

    for stop in STOPS:
        with pytest.raises(KeyboardInterrupt):
            attempt(stop)
        assert not (out / MANIFEST).exists()
    attempt(None)
    # Of the stage that was under way only the second step is done, and of a finished one nothing:
    # then the only share is the one that is told when all models are there.
    assert attempts == [[0.5], [1.0], [1.0], [1.0]]
    assert Bundle.load(out).manifest == whole.manifest
    assert not (out / MAKING).exists()


def test_other_inputs_begin_anew(source: SourceData, whole: Bundle, tmp_path: Path) -> None:
    out = tmp_path / whole.path.name

    def stop(name: str, _: float, __: str) -> None:
        if name == "train detection":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, RECIPE.model_copy(update={"seed": 9}), out, stop)
    make(source, RECIPE, out)
    assert Bundle.load(out).manifest == whole.manifest


def test_wrong_options_are_named(tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OfflineError, match="not empty and not a bundle"):
        run_offline(OfflineOptions(out=tmp_path), Console(quiet=True))
    with pytest.raises(ValueError, match="does not exist"):
        choose_weights(str(tmp_path / "none.npz"), None)
    assert choose_weights("auto", None)[0] is None


def test_weights_beside_the_data_are_found_whatever_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "mobilenet_v2-7ebf99e0.pth"
    path.parent.mkdir()
    torch.save({"features.0.0.weight": torch.ones(2)}, path)
    found, origin = choose_weights("auto", tmp_path)
    assert found is not None and origin == path.name
