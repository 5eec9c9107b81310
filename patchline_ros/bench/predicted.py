"""How many patches the predictor of a bundle asks for on the drift of a scene, and its cost."""

from __future__ import annotations

from patchline_ros.adaptation.patch_choice import PatchChoice, choose_patches
from patchline_ros.bench.experiment import RunConfig
from patchline_ros.bench.result import RunResult
from patchline_ros.bench.scene import Scene
from patchline_ros.bundle import Bundle
from patchline_ros.drift.mmd import mmd2
from patchline_ros.offline.drifted import backbone_features
from patchline_ros.patching.patched_model import PatchSettings


def patches_on(bundle: Bundle, scene: Scene) -> PatchChoice:
    """As on the car: from the frames to adapt on, and MMD^2 of the first window of them.

    The features behind that MMD^2 are those that perception publishes anyway; they cost nothing.
    """
    watching, reference = bundle.manifest.drift, bundle.drift_reference
    frames = scene.tasks[watching.task].adapt
    window = frames[: watching.window]
    features = backbone_features(bundle.model(watching.task), watching.tap, window)
    drift = mmd2(reference.standardise(features), reference.features, reference.bandwidth)
    return choose_patches(bundle, [sample.image for sample in frames], drift)


def with_patches(config: RunConfig, patches: int) -> RunConfig:
    """The same run with so many patches."""
    row = config.settings
    assert isinstance(row.method, PatchSettings)
    method = row.method.model_copy(update={"k": patches})
    settings = row.model_copy(update={"method": method})
    return config.model_copy(update={"settings": settings})


def with_cost(result: RunResult, choice: PatchChoice) -> RunResult:
    """The result with what the choice took among the selection's cost, the tasks sharing it."""
    share = 1 / len(result.tasks)
    tasks = {}
    for task, found in result.tasks.items():
        spent = found.gflops.get("selection", 0.0) + share * choice.gflops
        gflops = {**found.gflops, "selection": spent} if spent else found.gflops
        seconds = found.seconds + share * choice.seconds
        tasks[task] = found.model_copy(update={"gflops": gflops, "seconds": seconds})
    return result.model_copy(update={"tasks": tasks})
