"""Trains patch predictors on labelled drifts, and scores them on unseen drifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from patchline_ros.adaptation.predictor import DriftedSet, NetworkPredictor, Reader
from patchline_ros.adaptation.readers import ImageReader, TapReader, tap_features
from patchline_ros.manifest import DriftLabel
from patchline_ros.offline.classifier_training import train_classifier
from patchline_ros.offline.drifted import WatchedSource, spread
from patchline_ros.vision.torchvision_backbones import Weights

SOURCE_FRAMES = 64
"""Source frames that the light predictor compares with, evenly over the drive."""


@dataclass(frozen=True)
class HeldOutScore:
    """What a predictor said of sets that it was not trained on.

    Attributes:
        predicted: patches for each set.
        accuracy: share of the sets for which that is the smallest sufficient number.
        mean_absolute_error: in patches.
    """

    predicted: list[int]
    accuracy: float
    mean_absolute_error: float


class PatchPredictor(Protocol):
    """Tells the number of patches."""

    def predict(self, drifted: DriftedSet) -> int:
        """Number of patches, 0 (the source model will do) to the number of groups."""


Fit = Callable[[Sequence[int]], PatchPredictor]
"""Trains a predictor on some of the sets, given by their places."""


def network_fit(
    reader: Reader, inputs: Sequence[Tensor], labels: Sequence[int], groups: int, seed: int
) -> Callable[[Sequence[int]], NetworkPredictor]:
    """Trains learnt predictors on what was read once of each set, however many trainings follow.

    Args:
        reader: that read it.
        inputs: (frames, reader.width) of each set.
        labels: patches that each set needs, 0 to `groups`.
        groups: of the watched model's backbone.
        seed: of the classifiers' first weights.
    """

    def fit(chosen: Sequence[int]) -> NetworkPredictor:
        classifier = train_classifier(
            [inputs[i] for i in chosen],
            [labels[i] for i in chosen],
            outputs=groups + 1,
            hidden=reader.hidden,
            seed=seed,
        )
        return NetworkPredictor(reader, classifier)

    return fit


def held_out_score(fit: Fit, sets: Sequence[DriftedSet], labels: Sequence[int]) -> HeldOutScore:
    """Trains as often as there are sets, each time without one, and asks for that one."""
    everyone = range(len(sets))
    predictors = [fit([i for i in everyone if i != left_out]) for left_out in everyone]
    predicted = [
        predictor.predict(drifted) for predictor, drifted in zip(predictors, sets, strict=True)
    ]
    errors = np.abs(np.subtract(predicted, labels))
    return HeldOutScore(
        predicted=predicted,
        accuracy=float((errors == 0).mean()),
        mean_absolute_error=float(errors.mean()),
    )


def light_reader(watched: WatchedSource) -> TapReader:
    """The reader of the light predictor, which compares with source frames over the whole drive.

    Raises:
        ValueError: fewer than two source frames, or a tap on which half of them or more are equal.
    """
    source = spread(watched.train, SOURCE_FRAMES)
    raw = tap_features(watched.model, [sample.image for sample in source])
    return TapReader.from_source(watched.model.backbone.channels, raw)


def vgg16_reader(weights: Weights | None, size: tuple[int, int], seed: int) -> ImageReader:
    """The reader of the paper's predictor; without weights with random ones, drawn by the seed.

    Raises:
        ValueError: weights that are not a VGG16's, or a size under 32 a side.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageReader(weights, size)


def drifted_set(watched: WatchedSource, label: DriftLabel, reader: Reader, seed: int) -> DriftedSet:
    """What the reader may know of a labelled drift, whose frames are made again."""
    samples = watched.drifted((label.corruption, label.severity), seed)
    images = [sample.image for sample in samples]
    features = np.empty((len(images), 0), np.float32)
    if isinstance(reader, TapReader):
        features = tap_features(watched.model, images)
    return DriftedSet(images, features, label.mmd2)


def read_all(reader: Reader, drifted: DriftedSet) -> Tensor:
    """(frames, reader.width) of all frames of a set."""
    return reader.read(drifted, range(len(drifted.images)))
