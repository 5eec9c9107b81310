"""Learns how many patches a drift of a given MMD^2 needs, on source data that is corrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
SAMPLES = 32
"""Frames a drift, at most, to train on and as many to measure on."""
MARGIN = 0.01
TRAINING = TrainingSettings(epochs=6, mirror=False)
METHOD = PatchSettings(k=1)
"""How a drift is adapted to; its k is replaced by each number of patches in turn."""


@dataclass(frozen=True)
class LabelledDrift:
    """One drift that was made, and how many patches it needs.

    Attributes:
        name, severity: of the corruption.
        samples: the corrupted training frames.
        metrics: the task's metric on corrupted held-out frames by number of patches.
        patches: the smallest number whose metric is within MARGIN of the best one's.
    """

    name: str
    severity: float
    samples: list[Sample]
    metrics: dict[int, float]
    patches: int


def backbone_features(model: TaskModel, tap: int, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """(n, d) pooled features of one tap of the source backbone, as the nodes publish them."""
    rows = []
    with torch.inference_mode():
        for sample in samples:
            rows.append(pooled(model.backbone.tap(image_tensor(sample.image)[None], tap))[0])
    return torch.stack(rows).numpy()


def patch_counts(groups: int) -> list[int]:
    """The numbers of patches that the table tries: 1, 3, 5, ... and one for each group."""
    return sorted({*range(1, groups + 1, 2), groups})


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, evenly over the whole drive."""
    rows = np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int)
    return [samples[row] for row in rows]


def _drifted(samples: Sequence[Sample], name: str, severity: float, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [Sample(corrupt(s.image, name, severity, rng), s.label) for s in samples]


Figure = Callable[[str, Callable[[], float]], float]
"""Measures something that takes long, or remembers it by its name."""


def measured_anew(_name: str, measure: Callable[[], float]) -> float:
    """Measures, and remembers nothing."""
    return measure()


def _metric(
    model: TaskModel,
    patches: int,
    adapt: Sequence[Sample],
    test: Sequence[Sample],
    method: PatchSettings,
    training: TrainingSettings,
    seeds: Sequence[int],
) -> float:
    """The metric on `test` with so many patches trained on `adapt`; 0: of the source model.

    The mean of one training with each of the seeds.
    """
    if patches == 0:
        return evaluate(model, test)
    scene = [sample.image for sample in adapt]
    metrics = []
    for seed in seeds:
        torch.manual_seed(seed)
        patched = PatchedModel(model, method.model_copy(update={"k": patches}))
        train_adapted(patched, adapt, [], scene, training, seed)
        metrics.append(evaluate(patched, test))
    return float(np.mean(metrics))


def labelled_drifts(
    model: TaskModel,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    drifts: Sequence[tuple[str, float]],
    counts: Sequence[int],
    seed: int,
    method: PatchSettings = METHOD,
    training: TrainingSettings = TRAINING,
    trainings: int = 1,
    figure: Figure = measured_anew,
) -> Iterator[LabelledDrift]:
    """Makes drifts out of source frames and finds how many patches each needs.

    Args:
        model: source model.
        train, held_out: source samples at the model's input size.
        drifts: corruptions and their severities.
        counts: numbers of patches to try; 0 is the source model as it is.
        seed: of corruptions and training.
        method: how it is patched, but for k.
        training: how the patches are trained.
        trainings: of each number of patches, with seeds of their own; their mean decides.
        figure: remembers each metric under a name of its own.

    Raises:
        ValueError: no frames to train or to measure on.
    """
    if not train or not held_out:
        raise ValueError(
            f"drifts are made of source frames to train and to measure on; {len(train)} and "
            f"{len(held_out)} came"
        )
    for number, (name, severity) in enumerate(drifts):
        adapt = _drifted(spread(train, SAMPLES), name, severity, seed + number)
        test = _drifted(spread(held_out, SAMPLES), name, severity, seed + 100 + number)
        seeds = range(seed, seed + trainings)
        metrics = {
            k: figure(
                f"drift {number}, {k} patches",
                partial(_metric, model, k, adapt, test, method, training, seeds),
            )
            for k in counts
        }
        yield LabelledDrift(
            name=name,
            severity=severity,
            samples=adapt,
            metrics=metrics,
            patches=smallest_sufficient(metrics, MARGIN),
        )


def learn_table(
    model: TaskModel,
    reference: DriftReference,
    tap: int,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    seed: int,
    figure: Figure = measured_anew,
) -> Iterator[tuple[float, list[PatchStep]]]:
    """Trains several numbers of patches on each of eight drifts; yields (share done, table so far).

    The table is the rising step function that fits the drifts' MMD^2 and numbers best.

    Args:
        model: source model of the drift monitor's task.
        reference: what MMD^2 is measured against.
        tap: whose features are compared.
        train, held_out: source samples at the model's input size.
        seed: of corruptions and training.
        figure: remembers each metric under a name of its own.
    """
    measured: list[float] = []
    needed: list[int] = []
    counts = patch_counts(len(model.backbone.specs))
    for drift in labelled_drifts(model, train, held_out, DRIFTS, counts, seed, figure=figure):
        features = reference.standardise(backbone_features(model, tap, drift.samples))
        measured.append(mmd2(features, reference.features, reference.bandwidth))
        needed.append(drift.patches)
        yield len(needed) / len(DRIFTS), learn_patch_table(measured, needed)
