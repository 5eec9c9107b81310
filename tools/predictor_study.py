"""Compares the patch table and the learnt predictors on drifts that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchline_ros.adaptation.patch_count import steps_reached
from patchline_ros.adaptation.predictor import DriftedSet, NetworkPredictor, Reader
from patchline_ros.adaptation.readers import ImageReader
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.manifest import DriftLabel, PatchStep
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.offline.patch_predictor import (
    Fit,
    HeldOutScore,
    PatchPredictor,
    drifted_set,
    held_out_score,
    light_reader,
    network_fit,
    read_all,
)
from patchline_ros.offline.patch_table import learn_patch_table


class OneLabelError(ValueError):
    """All sets need the same number of patches, so that there is nothing to predict."""


@dataclass(frozen=True)
class TablePredictor:
    """The baseline: the monotone table from the monitor's MMD^2, which reads no frame."""

    table: Sequence[PatchStep]

    def predict(self, drifted: DriftedSet) -> int:
        """Patches of the highest step that the set's MMD^2 reaches; below all steps 0."""
        return steps_reached(self.table, drifted.mmd2)


@dataclass(frozen=True)
class PredictorStudy:
    """What the predictors make of the drifts.

    Attributes:
        sets: what the predictors may know of each drift.
        scores: of each predictor on held-out sets, by its name.
        predictors: trained on all sets, by name.
    """

    sets: Sequence[DriftedSet]
    scores: dict[str, HeldOutScore]
    predictors: dict[str, PatchPredictor]

    def gflops(self, name: str) -> float:
        """Forward GFLOPs for each frame that is read, on top of the taps' features."""
        predictor, drifted = self.predictors[name], self.sets[0]
        if not isinstance(predictor, NetworkPredictor):
            return 0.0
        with FlopCounter() as flops:
            predictor.predict(drifted)
        return flops.total / 1e9 / len(predictor.rows(drifted))


def _table_fit(sets: Sequence[DriftedSet], labels: Sequence[int]) -> Fit:
    def fit(chosen: Sequence[int]) -> PatchPredictor:
        drifts = [sets[i].mmd2 for i in chosen]
        return TablePredictor(learn_patch_table(drifts, [labels[i] for i in chosen]))

    return fit


def compare_predictors(
    sets: Sequence[DriftedSet],
    labels: Sequence[int],
    readers: Mapping[str, Reader],
    groups: int,
    seed: int,
) -> PredictorStudy:
    """Scores the table and a predictor for each reader, each set left out once as a whole.

    Args:
        sets: drifts.
        labels: patches that each needs, 0 to `groups`.
        readers: of the learnt predictors, by their names; the table is called `table`.
        groups: of the watched model's backbone.
        seed: of the classifiers' first weights.

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
    return PredictorStudy(sets, scores, {name: fit(range(len(sets))) for name, fit in fits.items()})


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
    return compare_predictors(
        [drifted_set(watched, label, light, seed) for label in labels],
        [label.patches for label in labels],
        {"light": light, "paper": images},
        len(watched.model.backbone.specs),
        seed,
    )
