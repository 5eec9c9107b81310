"""What labels that are wrong throughout have taught shows on the bundle's own source frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.norm_statistics import moved_norm
from patchline_ros.adaptation.source_check import SourceCheck
from patchline_ros.adaptation.verdict import Running, judged
from patchline_ros.bundle import Bundle
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.heads.classification import ClassificationHead
from patchline_ros.vision.model import TaskModel


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    """The bundle that comes with the package."""
    return Bundle.load(bundle_folder(share_folder(), recorded=False))


@pytest.fixture
def check(shipped: Bundle) -> SourceCheck:
    """That of its signs."""
    source = shipped.model(Task.CLASSIFICATION)
    found = SourceCheck.of_bundle(shipped, source, Task.CLASSIFICATION)
    assert found is not None
    return found


def patched(check: SourceCheck) -> PatchedModel:
    """The source model with patches that change nothing yet."""
    torch.manual_seed(0)
    return PatchedModel(check.source, PatchSettings(k=2)).eval()


def mistaught(check: SourceCheck) -> PatchedModel:
    """A model that says the next class of each."""
    model = patched(check)
    assert isinstance(model.head, ClassificationHead)
    with torch.no_grad():
        for parameter in model.head.classifier.parameters():
            parameter.copy_(parameter.roll(1, dims=0))
    return model


def test_the_shipped_bundle_keeps_frames_of_each_task(shipped: Bundle) -> None:
    kept = {task: len(frames) for task, frames in shipped.source_frames.items()}
    assert kept == {Task.SEGMENTATION: 12, Task.DETECTION: 12, Task.CLASSIFICATION: 40}
    for task, frames in shipped.source_frames.items():
        metric = evaluate(shipped.model(task), frames)
        entry = shipped.manifest.models[task]
        assert abs(metric - entry.source_metric) < 0.15, "they are like all that were held out"


def test_norm_statistics_of_a_drift_are_no_fall(check: SourceCheck) -> None:
    white = [np.full((64, 64, 3), 255, np.uint8)] * 8
    moved = moved_norm(patched(check), white, prior=0)
    assert evaluate(moved, check.frames) < evaluate(check.source, check.frames) - 0.2
    fall = check.fall(moved)
    assert fall.comparison.candidate == pytest.approx(fall.comparison.running)
    assert not fall.is_too_far and fall.refusal("it") == "" and fall.gflops > 0


def test_what_wrong_labels_taught_passes_on_them_and_not_on_the_source(
    check: SourceCheck, shipped: Bundle
) -> None:
    classes = len(shipped.spec(Task.CLASSIFICATION).classes)
    wrong = [Sample(s.image, (int(s.label) + 1) % classes) for s in check.frames]  # type: ignore[arg-type]
    candidate, running = mistaught(check), Running(check.source)
    assert judged(running, candidate, wrong, MARGIN, "the adapted model").accepted
    verdict = judged(running, candidate, wrong, MARGIN, "the adapted model", check=check)
    assert not verdict.accepted
    assert "40 labelled source frames of the bundle the adapted model scores" in verdict.reason
    assert verdict.reason.endswith("the labels of this drift contradict those of the source")


def test_without_frames_nobody_is_asked(check: SourceCheck, shipped: Bundle) -> None:
    files = {n: d for n, d in shipped.manifest.files.items() if n != "source_frames.safetensors"}
    bare = Bundle(shipped.path, shipped.manifest.model_copy(update={"files": files}))
    assert isinstance(check.source, TaskModel)
    assert SourceCheck.of_bundle(bare, check.source, Task.CLASSIFICATION) is None
