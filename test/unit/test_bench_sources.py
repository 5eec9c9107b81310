"""Source models are made once, kept, and checked when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_experiment as tiny
from tiny_bundle import make_bundle

from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.inputs import Inputs, origin_of
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.sources import SourceStore
from patchline_ros.tasks import Task
from patchline_ros.vision.model import fingerprint


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(data=None, out=tmp_path)


def store(inputs: Inputs, seed: int = 0, experiment: Experiment | None = None) -> SourceStore:
    return SourceStore(experiment or tiny.experiment(), inputs, tiny.tiny_scene(), seed)


def test_a_model_is_trained_once_and_read_after_that(inputs: Inputs) -> None:
    shares: list[float] = []
    store(inputs).make(Task.SEGMENTATION, shares.append)
    assert shares[-1] == 1.0
    first = store(inputs).load(Task.SEGMENTATION)
    files = {path: path.stat().st_mtime_ns for path in (inputs.out / "sources").iterdir()}
    store(inputs).make(Task.SEGMENTATION, lambda _: pytest.fail("trained again"))
    again = store(inputs).load(Task.SEGMENTATION)
    assert fingerprint(again.model) == fingerprint(first.model) == first.record.fingerprint
    assert not again.model.training
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert 0 <= first.record.source_metric <= 1
    assert first.record.source_entropy > 0


def test_other_seeds_recipes_and_data_are_other_models(inputs: Inputs) -> None:
    experiment = tiny.experiment()
    longer = experiment.source.model_copy(update={"epochs": dict.fromkeys(Task, 2)})
    shared = experiment.source.model_copy(update={"seed": 4})
    keys = {
        store(inputs).key(Task.SEGMENTATION),
        store(inputs, seed=1).key(Task.SEGMENTATION),
        store(inputs, 0, experiment.model_copy(update={"source": longer})).key(Task.SEGMENTATION),
        store(inputs, 0, experiment.model_copy(update={"source": shared})).key(Task.SEGMENTATION),
    }
    assert len(keys) == 4
    both = [
        store(inputs, seed, experiment.model_copy(update={"source": shared})) for seed in (0, 1)
    ]
    assert both[0].key(Task.SEGMENTATION) == both[1].key(Task.SEGMENTATION)
    scene = tiny.tiny_scene()
    scene.tasks[Task.SEGMENTATION].source_train[0].image[0, 0, 0] ^= 1
    assert SourceStore(experiment, inputs, scene, 0).key(Task.SEGMENTATION) not in keys


def test_damaged_files_are_named(inputs: Inputs) -> None:
    store(inputs).affinity("perceptual_hash")
    folder = inputs.out / "sources"
    (table,) = folder.glob("affinity-*.json")
    table.write_text("[]")
    with pytest.raises(ExperimentError, match=r"affinity table .* is damaged; delete it"):
        store(inputs).affinity("perceptual_hash")
    (weights,) = folder.glob("segmentation-*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ExperimentError, match="does not have the fingerprint that its file says"):
        store(inputs).load(Task.SEGMENTATION)
    weights.write_bytes(b"")
    with pytest.raises(ExperimentError, match=r"the source model .* is damaged; delete it"):
        store(inputs).load(Task.SEGMENTATION)


def test_models_of_a_bundle_where_they_fit(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    inputs = Inputs(data=None, out=tmp_path, bundle=tmp_path / "bundle")
    scene = tiny.tiny_scene()
    spec = bundle.spec(Task.CLASSIFICATION)
    assert origin_of(tiny.experiment(), inputs).startswith("bundle tiny ")
    signs = Scene("classification", {Task.CLASSIFICATION: scene.tasks[Task.CLASSIFICATION]})
    fitting = tiny.experiment().model_copy(update={"tasks": (Task.CLASSIFICATION,)})
    renamed = signs.tasks[Task.CLASSIFICATION].__class__(
        **{**signs.tasks[Task.CLASSIFICATION].__dict__, "classes": spec.classes}
    )
    taken = SourceStore(
        fitting, inputs, Scene("classification", {Task.CLASSIFICATION: renamed}), 0
    ).load(Task.CLASSIFICATION)
    assert taken.record.fingerprint == bundle.fingerprint(Task.CLASSIFICATION)
    with pytest.raises(ExperimentError, match="has no classification model with the classes"):
        SourceStore(fitting, inputs, signs, 0).make(Task.CLASSIFICATION)


def test_what_an_experiment_needs_is_said(tmp_path: Path, inputs: Inputs) -> None:
    plain = {**tiny.EXPERIMENT, "tasks": ["classification", "detection"], "rows": {"norm": {}}}
    with pytest.raises(
        ExperimentError, match="scene tiny has no detection; name only classification"
    ):
        store(inputs, 0, Experiment.model_validate(plain))
    imagenet = Experiment.model_validate(
        {**tiny.EXPERIMENT, "source": {"start": "imagenet"}, "width": 1.0}
    )
    missing = Inputs(data=None, out=tmp_path, weights=str(tmp_path / "none.npz"))
    with pytest.raises(ValueError, match=r"weights file .*none\.npz does not exist"):
        origin_of(imagenet, missing)
