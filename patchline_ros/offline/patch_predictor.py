"""Trains the patch predictors on drifts made of source data, and compares them on unseen drifts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from patchline_ros.adaptation.patch_count import learn_patch_table
from patchline_ros.adaptation.predictor import (
    DriftedSet,
    NetworkPredictor,
    PatchPredictor,
    Reader,
    TablePredictor,
    train_classifier,
)
from patchline_ros.adaptation.readers import ImageReader, TapReader, tap_features
from patchline_ros.adaptation.trainer import TrainingSettings
from patchline_ros.drift.corruptions import GRADED_SETS
from patchline_ros.drift.mmd import mmd2
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.offline.drift_table import (
    METHOD,
    TRAINING,
    LabelledDrift,
    backbone_features,
    labelled_drifts,
    spread,
)
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample
from patchline_ros.vision.model import TaskModel

SOURCE_FRAMES = 64
"""Of the source that the light predictor compares with, evenly over the drive."""


class OneLabelError(ValueError):
    """All sets need the same number of patches, so that there is nothing to predict."""


@dataclass(frozen=True)
class HeldOutScore:
    """What a predictor said of sets that it was not trained on.

    Attributes:
        predicted: patches for each set.
        accuracy: share of the sets for which that is the smallest sufficient number.
        mean_absolute_error: in patches.
        gflops: forward GFLOPs for each frame that is read.
        share_read: of a set's frames that are read.
    """

    predicted: list[int]
    accuracy: float
    mean_absolute_error: float
    gflops: float
    share_read: float


@dataclass(frozen=True)
class PredictorStudy:
    """What the offline routine has found so far.

    Attributes:
        drifts: the labelled drifts.
        sets: what the predictors may know of each of them.
        scores: of each predictor on held-out sets, by its name; empty until all are labelled.
        predictors: trained on all sets, by name.
    """

    drifts: list[LabelledDrift] = field(default_factory=list)
    sets: list[DriftedSet] = field(default_factory=list)
    scores: dict[str, HeldOutScore] = field(default_factory=dict)
    predictors: dict[str, PatchPredictor] = field(default_factory=dict)


Fit = Callable[[Sequence[int]], PatchPredictor]
"""Trains a predictor on some of the sets, given by their places."""


def _table_fit(sets: Sequence[DriftedSet], labels: Sequence[int]) -> Fit:
    def fit(chosen: Sequence[int]) -> PatchPredictor:
        drifts = [sets[i].mmd2 for i in chosen]
        return TablePredictor(learn_patch_table(drifts, [labels[i] for i in chosen]))

    return fit


def _network_fit(
    reader: Reader, sets: Sequence[DriftedSet], labels: Sequence[int], groups: int, seed: int
) -> Fit:
    """Reads every frame once, however many trainings follow."""
    inputs = [reader.read(drifted, range(len(drifted.images))) for drifted in sets]

    def fit(chosen: Sequence[int]) -> PatchPredictor:
        classifier = train_classifier(
            [inputs[i] for i in chosen],
            [labels[i] for i in chosen],
            outputs=groups + 1,
            hidden=reader.hidden,
            seed=seed,
        )
        return NetworkPredictor(reader, classifier)

    return fit


def _held_out_score(fit: Fit, sets: Sequence[DriftedSet], labels: Sequence[int]) -> HeldOutScore:
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
        fits[name] = _network_fit(reader, sets, labels, groups, seed)
    scores = {name: _held_out_score(fit, sets, labels) for name, fit in fits.items()}
    return scores, {name: fit(range(len(sets))) for name, fit in fits.items()}


def learn_predictors(
    model: TaskModel,
    reference: DriftReference,
    tap: int,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    images: ImageReader,
    seed: int,
    drifts: Sequence[tuple[str, float]] = GRADED_SETS,
    counts: Sequence[int] | None = None,
    method: PatchSettings = METHOD,
    training: TrainingSettings = TRAINING,
    trainings: int = 1,
) -> Iterator[tuple[float, PredictorStudy]]:
    """Labels drifts, then trains and compares `table`, `light` and `paper`.

    Yields the share done and what was found so far, after each drift and at the end.

    Args:
        model: source model of the drift monitor's task.
        reference: what the monitor's MMD^2 is measured against.
        tap: whose features the monitor compares.
        train, held_out: source samples at the model's input size.
        images: the paper's VGG16.
        seed: of corruptions and trainings.
        drifts: corruptions and their severities.
        counts: numbers of patches to try; 0 to the number of groups when not given.
        method: how the model is patched, but for k.
        training: how the patches are trained.
        trainings: of each number of patches; their mean decides.

    Raises:
        OneLabelError: after all drifts are labelled: all need the same number of patches.
        ValueError: too little data, or features that are not finite.
    """
    groups = len(model.backbone.specs)
    study = PredictorStudy()
    source = spread(train, SOURCE_FRAMES)
    light = TapReader.from_source(
        model.backbone.channels, tap_features(model, [sample.image for sample in source])
    )
    tries = range(groups + 1) if counts is None else counts
    for drift in labelled_drifts(
        model, train, held_out, drifts, tries, seed, method, training, trainings
    ):
        study.drifts.append(drift)
        study.sets.append(_drifted_set(model, reference, tap, drift))
        yield len(study.sets) / (len(drifts) + 1), study
    labels = [drift.patches for drift in study.drifts]
    scores, predictors = compare_predictors(
        study.sets, labels, {"light": light, "paper": images}, groups, seed
    )
    study.scores.update(scores)
    study.predictors.update(predictors)
    yield 1.0, study


def _drifted_set(
    model: TaskModel, reference: DriftReference, tap: int, drift: LabelledDrift
) -> DriftedSet:
    watched = reference.standardise(backbone_features(model, tap, drift.samples))
    images = [sample.image for sample in drift.samples]
    return DriftedSet(
        images=images,
        features=tap_features(model, images),
        mmd2=mmd2(watched, reference.features, reference.bandwidth),
    )
