"""Learns how many patches a drift of a given MMD^2 needs, on source data that is corrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from patchline_ros.adaptation.gate import evaluate
from patchline_ros.adaptation.patch_count import learn_patch_table, smallest_sufficient
from patchline_ros.adaptation.trainer import TrainingSettings, train_adapted
from patchline_ros.bundle import PatchStep
from patchline_ros.drift.corruptions import corrupt
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.model import TaskModel

DRIFTS = (
    ("noise", 0.3),
    ("rain", 0.5),
    ("fog", 0.4),
    ("dusk", 0.4),
    ("snow", 0.6),
    ("dusk", 0.8),
    ("fog", 0.8),
    ("night", 0.9),
)
PATCHES = (1, 3, 5, 7)
SAMPLES = 32
MARGIN = 0.01
TRAINING = TrainingSettings(epochs=6, mirror=False)


def backbone_features(model: TaskModel, tap: int, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """(n, d) pooled features of one tap of the source backbone, as the nodes publish them."""
    rows = []
    with torch.inference_mode():
        for sample in samples:
            rows.append(pooled(model.backbone.tap(image_tensor(sample.image)[None], tap))[0])
    return torch.stack(rows).numpy()


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` samples evenly over the whole drive."""
    return [samples[i] for i in np.linspace(0, len(samples) - 1, count).astype(int)]


def _drifted(samples: Sequence[Sample], name: str, severity: float, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [Sample(corrupt(s.image, name, severity, rng), s.label) for s in samples]


def learn_table(
    model: TaskModel,
    reference: DriftReference,
    tap: int,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    seed: int,
) -> Iterator[tuple[float, list[PatchStep]]]:
    """Trains 1, 3, 5 and 7 patches on each of eight drifts; yields (share done, table so far).

    A drift needs the smallest number of patches whose metric on corrupted held-out frames is
    within a point of the best one's. The table is the rising step function that fits these best.

    Args:
        model: source model of the drift monitor's task.
        reference: what MMD^2 is measured against.
        tap: whose features are compared.
        train, held_out: source samples at the model's input size.
        seed: of corruptions and training.
    """
    measured: list[float] = []
    needed: list[int] = []
    for number, (name, severity) in enumerate(DRIFTS):
        adapt = _drifted(_spread(train, SAMPLES), name, severity, seed + number)
        test = _drifted(_spread(held_out, SAMPLES), name, severity, seed + 100 + number)
        features = reference.standardise(backbone_features(model, tap, adapt))
        measured.append(mmd2(features, reference.features, reference.bandwidth))
        metric = {}
        for patches in PATCHES:
            torch.manual_seed(seed)
            patched = PatchedModel(model, PatchSettings(k=patches))
            scene = [sample.image for sample in adapt]
            train_adapted(patched, adapt, [], scene, TRAINING, seed)
            metric[patches] = evaluate(patched, test)
        needed.append(smallest_sufficient(metric, MARGIN))
        yield (number + 1) / len(DRIFTS), learn_patch_table(measured, needed)
