"""Trains the patch predictors on labelled drifts, and compares them on unseen drifts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from patchline_ros.adaptation.predictor import (
    DriftedSet,
    NetworkPredictor,
    PatchPredictor,
    Reader,
    TablePredictor,
)
from patchline_ros.adaptation.readers import ImageReader, TapReader, tap_features
from patchline_ros.bundle import DriftLabel
from patchline_ros.offline.classifier_training import train_classifier
from patchline_ros.offline.drifted import WatchedSource, spread
from patchline_ros.offline.patch_table import learn_patch_table
from patchline_ros.vision.torchvision_backbones import Weights

SOURCE_FRAMES = 64
"""Source frames that the light predictor compares with, evenly over the drive."""


class OneLabelError(ValueError):
    """All sets need the same number of patches, so that there is nothing to predict."""


@dataclass(frozen=True)
class HeldOutScore:
    """What a predictor said of sets that it was not trained on.

    Attributes:
        predicted: patches for each set.
        accuracy: share of the sets for which that is the smallest sufficient number.
        mean_absolute_error: in patches.
        gflops: forward GFLOPs for each frame that is read, on top of the taps' features.
        share_read: of a set's frames that are read.
    """

    predicted: list[int]
    accuracy: float
    mean_absolute_error: float
    gflops: float
    share_read: float


@dataclass(frozen=True)
class PredictorStudy:
    """What the predictors make of the drifts.

    Attributes:
        sets: what the predictors may know of each drift.
        scores: of each predictor on held-out sets, by its name.
        predictors: trained on all sets, by name.
    """

    sets: list[DriftedSet]
    scores: dict[str, HeldOutScore]
    predictors: dict[str, PatchPredictor]


Fit = Callable[[Sequence[int]], PatchPredictor]
"""Trains a predictor on some of the sets, given by their places."""


def _table_fit(sets: Sequence[DriftedSet], labels: Sequence[int]) -> Fit:
    def fit(chosen: Sequence[int]) -> PatchPredictor:
        drifts = [sets[i].mmd2 for i in chosen]
        return TablePredictor(learn_patch_table(drifts, [labels[i] for i in chosen]))

    return fit


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
        gflops=predictors[0].gflops(sets[0]),
        share_read=predictors[0].share,
    )


def compare_predictors(
    sets: Sequence[DriftedSet],
    labels: Sequence[int],
    readers: Mapping[str, Reader],
    groups: int,
    seed: int,
) -> tuple[dict[str, HeldOutScore], dict[str, PatchPredictor]]:
    """Scores the table and a predictor for each reader, each set left out once as a whole.

    Args:
        sets: drifts.
        labels: patches that each needs, 0 to `groups`.
        readers: of the learnt predictors, by their names.
        groups: of the watched model's backbone.
        seed: of the classifiers' first weights.

    Returns:
        Scores on the sets left out, and the predictors trained on all sets; both have `table`
        besides the readers' names.

    Raises:
        OneLabelError: all sets need the same number of patches.
        ValueError: no sets, other than one label a set, or a label out of range.
    """
    if not sets or len(sets) != len(labels):
        raise ValueError(
            f"predictors are compared on sets and as many labels; {len(sets)} and {len(labels)} "
            "came"
        )
    if len(set(labels)) == 1:
        raise OneLabelError(
            f"all {len(sets)} sets need {labels[0]} patches: there is nothing to predict; take "
            "that number for every drift, or make drifts that differ more"
        )
    fits = {"table": _table_fit(sets, labels)}
    for name, reader in readers.items():
        inputs = [read_all(reader, drifted) for drifted in sets]
        fits[name] = network_fit(reader, inputs, labels, groups, seed)
    scores = {name: held_out_score(fit, sets, labels) for name, fit in fits.items()}
    return scores, {name: fit(range(len(sets))) for name, fit in fits.items()}


def learn_predictors(
    watched: WatchedSource, labels: Sequence[DriftLabel], images: ImageReader, seed: int
) -> PredictorStudy:
    """Trains and compares `table`, `light` and `paper` on labelled drifts.

    Args:
        watched: the model and the source data that the drifts were made of.
        labels: of the drifts, as `predictor_data` finds them.
        images: the paper's VGG16.
        seed: with which the labels were made; also of the classifiers' first weights.

    Raises:
        OneLabelError: all drifts need the same number of patches.
        ValueError: too little data, or features that are not finite.
    """
    light = light_reader(watched)
    sets = [drifted_set(watched, label, light, seed) for label in labels]
    scores, predictors = compare_predictors(
        sets,
        [label.patches for label in labels],
        {"light": light, "paper": images},
        len(watched.model.backbone.specs),
        seed,
    )
    return PredictorStudy(sets, scores, predictors)


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
