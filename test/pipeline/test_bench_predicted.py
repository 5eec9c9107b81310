"""A row whose number of patches the predictor of the bundle says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import tiny_experiment as tiny

from patchline_ros.adaptation.patch_choice import PatchChoice
from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import due_runs, source_waves
from patchline_ros.bench.predicted import patches_on, with_cost, with_patches
from patchline_ros.bench.result import read_result, result_path
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.scenes import load_scene
from patchline_ros.bundle import Bundle
from patchline_ros.manifest import PatchStep
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import ModelSpec

ROW = {"method": {"method": "patchline", "k": 7}, "predict_patches": True}


def drifted(pictures: list[np.ndarray]) -> Scene:
    """A scene whose frames to adapt on are these."""
    scene = tiny.tiny_scene()
    adapt = [Sample(picture, np.zeros(picture.shape[:2], np.uint8)) for picture in pictures]
    lanes = dataclasses.replace(scene.tasks[Task.SEGMENTATION], adapt=adapt)
    return Scene("drifted", {Task.SEGMENTATION: lanes})


def test_the_drift_of_the_scene_decides(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "bundle")
    steps = [PatchStep(mmd2=0.2, patches=3)]
    bundle = Bundle(bundle.path, bundle.manifest.model_copy(update={"patch_table": steps}))
    like_the_source = [tiny_bundle.picture(seed) for seed in range(64, 80)]
    assert patches_on(bundle, drifted(like_the_source)) == PatchChoice(1, "table")
    dark = [picture // np.uint8(8) for picture in like_the_source]
    assert patches_on(bundle, drifted(dark)) == PatchChoice(3, "table")


def test_the_declaration_says_what_was_predicted() -> None:
    config = with_patches(tiny.config_of("ours"), 3)
    assert config.settings.method.k == 3  # type: ignore[union-attr]
    assert config.settings.warm_start == "most_similar"


def test_a_learnt_predictor_is_asked_and_its_cost_is_the_selections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.model_validate(
        {
            "name": "small",
            "scene": "smoke",
            "width": 0.25,
            "tasks": ["classification", "segmentation"],
            "source": {**tiny.EXPERIMENT["source"]},
            "training": {"epochs": 1, "batch_size": 4},
            "rows": {"predicted": ROW, "fixed": {"method": {"method": "patchline", "k": 2}}},
        }
    )
    scene = load_scene("smoke", None, 0)

    def spec_of(task: Task) -> ModelSpec:
        return experiment.spec(task, scene.tasks[task].classes, scene.tasks[task].input_size)

    monkeypatch.setattr(tiny_bundle, "spec_of", spec_of)
    bundle = tiny_bundle.make_bundle(tmp_path / "bundle", tasks=experiment.tasks, learnt="light")
    inputs = Inputs(None, tmp_path / "out", bundle=bundle.path)
    for wave in source_waves(experiment, inputs, list(experiment.rows), [0]):
        for job in wave:
            job(lambda _: None)
    for job in due_runs(experiment, inputs, list(experiment.rows), [0], {}, False):
        job(lambda _: None)
    # What was chosen is part of the configuration, so that a finished run is known again.
    assert due_runs(experiment, inputs, list(experiment.rows), [0], {}, False) == []
    predicted, fixed = (
        read_result(result_path(inputs.out, "small", row, 0)) for row in experiment.rows
    )
    method = predicted.config.settings.method
    assert isinstance(method, PatchSettings) and method.k == tiny_bundle.LEARNT_PATCHES
    choice = patches_on(bundle, scene)
    assert choice.by == "light" and choice.gflops > 0
    for task, result in predicted.tasks.items():
        assert result.gflops.pop("selection") == pytest.approx(choice.gflops / 2)
        assert result.gflops == pytest.approx(fixed.tasks[task].gflops)
        assert result.test == fixed.tasks[task].test
        shared = with_cost(predicted, PatchChoice(2, "light", seconds=10.0)).tasks[task]
        assert shared.seconds == pytest.approx(result.seconds + 5.0)


def test_without_a_bundle_there_is_no_predictor(tmp_path: Path) -> None:
    experiment = Experiment.model_validate({**tiny.EXPERIMENT, "rows": {"predicted": ROW}})
    with pytest.raises(ExperimentError, match="row predicted takes the predictor of a bundle"):
        due_runs(experiment, Inputs(None, tmp_path), ["predicted"], [0], {}, False)
    rows = {"full": {"method": {"method": "ft_full"}, "predict_patches": True}}
    with pytest.raises(ValueError, match="predict_patches is for patches"):
        Experiment.model_validate({**tiny.EXPERIMENT, "rows": rows})
