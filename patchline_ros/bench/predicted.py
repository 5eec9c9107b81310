"""How many patches the predictor of a bundle asks for on the drift of a scene."""

from __future__ import annotations

from patchline_ros.adaptation.patch_count import patches_for
from patchline_ros.bench.experiment import RunConfig
from patchline_ros.bench.scene import Scene
from patchline_ros.bundle import Bundle
from patchline_ros.drift.mmd import mmd2
from patchline_ros.offline.drifted import backbone_features
from patchline_ros.patching.patched_model import PatchSettings


def predicted_patches(bundle: Bundle, scene: Scene) -> int:
    """As on the car: from MMD^2 of the first window of the frames to adapt on.

    The features are those that perception publishes anyway; nothing else is computed.
    """
    watching, reference = bundle.manifest.drift, bundle.drift_reference
    frames = scene.tasks[watching.task].adapt[: watching.window]
    features = backbone_features(bundle.model(watching.task), watching.tap, frames)
    drift = mmd2(reference.standardise(features), reference.features, reference.bandwidth)
    return patches_for(bundle.manifest.patch_table, drift)


def with_patches(config: RunConfig, patches: int) -> RunConfig:
    """The same run with so many patches."""
    row = config.settings
    assert isinstance(row.method, PatchSettings)
    method = row.method.model_copy(update={"k": patches})
    settings = row.model_copy(update={"method": method})
    return config.model_copy(update={"settings": settings})
