"""A row whose number of patches the predictor of the bundle says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import tiny_experiment as tiny

from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import due_runs
from patchline_ros.bench.predicted import predicted_patches, with_patches
from patchline_ros.bench.scene import Scene
from patchline_ros.bundle import Bundle, PatchStep
from patchline_ros.tasks import Sample, Task

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
    assert predicted_patches(bundle, drifted(like_the_source)) == 1
    dark = [picture // np.uint8(8) for picture in like_the_source]
    assert predicted_patches(bundle, drifted(dark)) == 3


def test_the_declaration_says_what_was_predicted() -> None:
    config = with_patches(tiny.config_of("ours"), 3)
    assert config.settings.method.k == 3  # type: ignore[union-attr]
    assert config.settings.warm_start == "most_similar"


def test_without_a_bundle_there_is_no_predictor(tmp_path: Path) -> None:
    experiment = Experiment.model_validate({**tiny.EXPERIMENT, "rows": {"predicted": ROW}})
    with pytest.raises(ExperimentError, match="row predicted takes the predictor of a bundle"):
        due_runs(experiment, Inputs(None, tmp_path), ["predicted"], [0], {}, False)
    rows = {"full": {"method": {"method": "ft_full"}, "predict_patches": True}}
    with pytest.raises(ValueError, match="predict_patches is for patches"):
        Experiment.model_validate({**tiny.EXPERIMENT, "rows": rows})
