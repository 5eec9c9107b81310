"""Models by ONNX Runtime: the same outputs as PyTorch's, also with weights of a later patch set."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import torch

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.patch_set import PatchSetError, PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import BackendError, Engine, graph_path
from patchline_ros.runtime.model_runner import ModelRunner, Perception
from patchline_ros.tasks import Boxes, Task
from patchline_ros.vision.torchvision_backbones import BackboneName

pytest.importorskip("onnxruntime", reason="needs onnxruntime and onnxscript, the extra `onnx`")
pytest.importorskip("onnxscript", reason="needs onnxruntime and onnxscript, the extra `onnx`")


PATCHED = (Task.CLASSIFICATION, Task.DETECTION)
"""Patched segmenters are compared in the node's own test."""
QUICKLY_EXPORTED: BackboneName = "vgg16"
"""An export of the classifier, with a car's backbone, takes ten seconds; with this one two."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With the graphs of the source models, and of two patches on those that are patched."""
    bundle = tiny_bundle.make_bundle(
        tmp_path_factory.mktemp("onnx") / "bundle", backbone=QUICKLY_EXPORTED
    )
    bundle = tiny_bundle.export_graphs(bundle, PATCHED)
    bundle = tiny_bundle.export_graphs(bundle, [Task.SEGMENTATION], patched=False)
    return bundle


def same(one: Perception, other: Perception) -> None:
    np.testing.assert_allclose(one.features, other.features, atol=1e-4)
    assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
    assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    if isinstance(one.prediction, Boxes) and isinstance(other.prediction, Boxes):
        np.testing.assert_allclose(one.prediction.boxes, other.prediction.boxes, atol=1e-2)
        np.testing.assert_array_equal(one.prediction.labels, other.prediction.labels)
    else:
        np.testing.assert_array_equal(one.prediction, other.prediction)


@pytest.mark.parametrize("task", PATCHED)
def test_onnx_runtime_says_what_pytorch_says_also_of_later_patch_sets(
    bundle: Bundle, task: Task
) -> None:
    pytorch, onnx = (
        ModelRunner(bundle, task, Engine(backend)) for backend in (Backend.PYTORCH, Backend.ONNX)
    )
    picture = tiny_bundle.picture(7)
    same(pytorch.infer(picture), onnx.infer(picture))
    seen = [pytorch.infer(picture).entropy]
    for version in (1, 2):
        data = tiny_bundle.make_patch_set(bundle, task, version)
        for runner in (pytorch, onnx):
            runner.activate(runner.build(data, sha256(data)))
        same(pytorch.infer(picture), onnx.infer(picture))
        seen.append(onnx.infer(picture).entropy)
    # The weights of each patch set were really used.
    assert len({round(entropy, 5) for entropy in seen}) == 3
    for runner in (pytorch, onnx):
        runner.rollback()
    same(pytorch.infer(picture), onnx.infer(picture))


def without_graph(bundle: Bundle) -> bytes:
    """A patch set of three patches."""
    metadata = PatchSetMetadata(
        task=Task.CLASSIFICATION,
        version=1,
        base_fingerprint=bundle.fingerprint(Task.CLASSIFICATION),
        method=PatchSettings(k=3),
        norm="source",
        seed=0,
    )
    return to_bytes(PatchedModel(bundle.model(Task.CLASSIFICATION), PatchSettings(k=3)), metadata)


def test_auto_takes_the_graphs_that_are_there_and_says_why(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, picture = Task.CLASSIFICATION, tiny_bundle.picture(3)
    engine = Engine(Backend.AUTO)
    runner = ModelRunner(bundle, task, engine)
    by_graph = "CPUExecutionProvider, since the bundle has the graph"
    no_graph = "CPU, since the bundle has no graph of the model (`patchline export` makes it)"
    assert runner.runs_on.startswith("ONNX") and runner.runs_on.endswith(by_graph)
    same(runner.infer(picture), ModelRunner(bundle, task, Engine(Backend.ONNX)).infer(picture))
    # A patch set for which there is no graph is no reason to stay with a worse model.
    for data, runs_on in (
        (without_graph(bundle), no_graph),
        (tiny_bundle.make_patch_set(bundle, task, 2), by_graph),
    ):
        runner.activate(runner.build(data, sha256(data)))
        assert runner.runs_on.endswith(runs_on)
        pytorch = ModelRunner(bundle, task)
        pytorch.activate(pytorch.build(data, sha256(data)))
        same(runner.infer(picture), pytorch.infer(picture))
    runner.return_to_source()
    assert runner.runs_on.endswith(by_graph)
    other = tiny_bundle.make_bundle(tmp_path / "other", backbone=QUICKLY_EXPORTED)
    assert ModelRunner(other, task, engine).runs_on == f"PyTorch {torch.__version__}, {no_graph}"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert ", CPU, since ONNX Runtime is not there (" in ModelRunner(bundle, task, engine).runs_on


def test_what_has_no_graph_is_refused_with_the_way_to_make_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    other = tiny_bundle.make_bundle(tmp_path / "other")
    with pytest.raises(BackendError, match=r"there is no ONNX graph .* `patchline export .*other`"):
        ModelRunner(other, Task.CLASSIFICATION, Engine(Backend.ONNX))
    runner = ModelRunner(bundle, Task.CLASSIFICATION, Engine(Backend.ONNX))
    data = without_graph(bundle)
    with pytest.raises(PatchSetError, match="there is no ONNX graph"):
        runner.build(data, sha256(data))
    assert runner.infer(tiny_bundle.picture(1)).patch_version == 0
    path = graph_path(bundle.path, bundle.spec(Task.SEGMENTATION), None, tiny_bundle.TAP)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"nonsense"):
        path.write_bytes(damaged)
        with pytest.raises(BackendError, match="make it again with `patchline export"):
            ModelRunner(bundle, Task.SEGMENTATION, Engine(Backend.ONNX))
    signs = graph_path(bundle.path, bundle.spec(Task.CLASSIFICATION), None, tiny_bundle.TAP)
    path.write_bytes(signs.read_bytes())
    with pytest.raises(BackendError, match="make it again with `patchline export"):
        ModelRunner(bundle, Task.SEGMENTATION, Engine(Backend.ONNX))
    path.write_bytes(whole)
    torch.set_num_threads(1)
    same(
        ModelRunner(bundle, Task.SEGMENTATION).infer(tiny_bundle.picture(1)),
        ModelRunner(bundle, Task.SEGMENTATION, Engine(Backend.ONNX)).infer(tiny_bundle.picture(1)),
    )
