"""The paper's experiments, as their files say, on small copies of each data set's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_experiment as tiny
from miniatures import make_acdc, make_core50, make_sbd

from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bench.benchmark_run import run_row
from patchline_ros.bench.experiment import run_config
from patchline_ros.bench.experiment_files import find_experiment
from patchline_ros.bench.scenes import Scene, load_scene
from patchline_ros.tasks import Sample
from patchline_ros.vision.inputs import resized

SMALL = (64, 64)


def smaller(samples: list[Sample]) -> list[Sample]:
    return [resized(sample, SMALL) for sample in samples]


@pytest.mark.parametrize(
    ("make", "name"),
    [(make_core50, "core50"), (make_acdc, "acdc:vgg16"), (make_sbd, "sbd-plus")],
)
def test_the_papers_experiments_run(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    """One epoch of thin models on a few small frames, with all else as its file says."""
    make(tmp_path)
    short = TrainingSettings(epochs=1, batch_size=2)
    experiment = find_experiment(name).model_copy(update={"width": 0.25, "training": short})
    whole = load_scene(experiment.scene, tmp_path)
    few = {
        task: replace(
            there,
            adapt=smaller(there.adapt[-7:] * 2)[:6],
            test=smaller(there.test[:2]),
            input_size=SMALL,
        )
        for task, there in whole.tasks.items()
    }
    scene = Scene(whole.name, {task: few[task] for task in experiment.tasks})
    sources = tiny.sources(scene, of=experiment)
    config = run_config(experiment, "ours", 0, {}, "random")
    result = run_row(config, scene, sources, tiny.affinity(sources))
    assert set(result.tasks) == set(experiment.tasks)
    for there in result.tasks.values():
        assert not there.untrained
        assert np.isfinite(there.losses).all()
        assert there.gflops["training"] > 0
