"""A small model that watches for drift, trained for seconds, with the frames that it knows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.jobs.scheduler import Executor, ReportProgress
from patchline_ros.offline.drifted import WatchedSource, backbone_features
from patchline_ros.offline.predictor_data import PredictorData, PredictorSettings, predictor_data
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import ModelSpec
from patchline_ros.vision.training import train_source

TAP = 2
TRAINING = TrainingSettings(epochs=2, mirror=False)
"""Of the patches."""


def road(seed: int) -> Sample:
    """A dark and a light half, with a border that moves."""
    rng = np.random.default_rng(seed)
    label = np.zeros((64, 64), np.uint8)
    label[:, rng.integers(16, 48) :] = 1
    image = 60 + 100 * label[..., None] + rng.integers(0, 40, (64, 64, 3))
    return Sample(image.astype(np.uint8), label)


@lru_cache(maxsize=1)
def tiny_watched() -> WatchedSource:
    """Made once a process."""
    spec = ModelSpec(
        task=Task.SEGMENTATION, classes=("dark", "light"), input_size=(64, 64), width=0.25
    )
    samples = [road(seed) for seed in range(16)]
    *_, (_, model) = train_source(
        spec,
        samples[:8],
        weights=None,
        backbone=None,
        epochs=12,
        batch_size=4,
        learning_rate=1e-2,
        seed=0,
    )
    model.eval()
    features = backbone_features(model, TAP, samples[:8])
    reference = DriftReference.from_source(features, window=4, false_alarm=1000)
    return WatchedSource(model, reference, TAP, samples[:8], samples[8:])


def data(
    settings: PredictorSettings,
    folder: Path,
    executor: Executor,
    report: ReportProgress = lambda _: None,
    watched: WatchedSource | None = None,
) -> PredictorData:
    """Predictor data of the model above, or of another one."""
    return predictor_data(
        watched or tiny_watched(), settings, 0, folder, executor, report, training=TRAINING
    )
