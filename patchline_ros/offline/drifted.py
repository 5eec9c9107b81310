"""Drift that is made of source frames, and what the drift monitor sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from patchline_ros.adaptation.predictor import evenly
from patchline_ros.drift.corruptions import corrupt
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import sha256
from patchline_ros.manifest import DriftEntry
from patchline_ros.tasks import Sample
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.model import TaskModel

SAMPLES: Final = 32
"""Frames a drift, at most, to train on and as many to measure on."""

_STRETCH: Final = 64
"""Frames that follow each other, of a source with too many to take them all."""

Drift = tuple[str, float]
"""A corruption and its severity."""
Part = Literal["train", "held_out"]


@dataclass(frozen=True)
class WatchedSource:
    """The model that watches for drift, and the source data that drifts are made of.

    Attributes:
        model: source model of the drift monitor's task, in evaluation mode.
        reference: what the monitor's MMD^2 is measured against.
        tap: whose features the monitor compares.
        train, held_out: source samples at the model's input size, in the order of time.
    """

    model: TaskModel
    reference: DriftReference
    tap: int
    train: Sequence[Sample]
    held_out: Sequence[Sample]

    def mmd2(self, samples: Sequence[Sample]) -> float:
        """How far these frames are from the source, as the monitor measures it."""
        features = self.reference.whitening(backbone_features(self.model, self.tap, samples))
        return mmd2(features, self.reference.features, self.reference.bandwidth)

    def drift_entry(self) -> DriftEntry:
        """What a manifest says of how drift is measured."""
        reference = self.reference
        return DriftEntry(
            task=self.model.spec.task,
            tap=self.tap,
            window=reference.window,
            bandwidth=reference.bandwidth,
            threshold=reference.threshold,
        )

    def drifted(self, drift: Drift, seed: int) -> list[Sample]:
        """The frames to train on of a drift."""
        return drifted(spread(self.train, SAMPLES), drift, "train", seed)


def backbone_features(model: TaskModel, tap: int, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """(n, d) pooled features of one tap of the source backbone, as the nodes publish them."""
    rows = []
    with torch.inference_mode():
        for sample in samples:
            rows.append(pooled(model.backbone.tap(image_tensor(sample.image)[None], tap))[0])
    return torch.stack(rows).numpy()


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, evenly over the whole drive."""
    return [samples[row] for row in evenly(len(samples), count)]


def stretches(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, in stretches that are evenly over the whole drive."""
    if len(samples) <= count:
        return list(samples)
    starts = np.linspace(0, len(samples) - _STRETCH, count // _STRETCH).astype(int)
    return [samples[start + row] for start in starts for row in range(_STRETCH)]


def drifted(samples: Sequence[Sample], drift: Drift, part: Part, seed: int) -> list[Sample]:
    """The samples corrupted: the same for the same arguments, whatever other drifts there are.

    Raises:
        ValueError: there is no such corruption, or its severity is not from 0 to 1.
    """
    corruption, severity = drift
    rng = np.random.default_rng(int(sha256(f"{corruption} {severity} {part} {seed}".encode()), 16))
    return [Sample(corrupt(s.image, corruption, severity, rng), s.label) for s in samples]
