"""Measures whether a car could train without labels, and know where that helps.

    python -m tools.judge_label_free_training --data DATA --bundle BUNDLE

The road are held-out CamVid frames under each corruption. From the bundle's prepared patches the
lanes model is trained on its own answers and on source pictures in the road's colours, as in the
benchmark's row `prepared_self`; other held-out frames under the same corruption say what it gained,
and the bundle's label-free gate says what it would have predicted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.label_free_training import SelfLabelSettings, train_without_labels
from patchline_ros.adaptation.norm_statistics import moved_norm, norm_prior_of
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bench.scenes import load_scene
from patchline_ros.bundle import Bundle
from patchline_ros.drift.corruptions import CORRUPTIONS
from patchline_ros.offline.preparation import frames_of_drift
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.evidence import Look, evidence

SEVERITY: Final = 0.85
"""One of those that the gate is fitted to, and no patches are trained on."""
FRAMES: Final = 24
"""Of the road, and as many to test on."""
SOURCE_PICTURES: Final = 64
EPOCHS: Final = 4
RATE: Final = 0.333
"""As `patchline bench tune` chose it for lanes on the frames to adapt on of camvid-dusk."""
SEED: Final = 0


class Outcome(NamedTuple):
    """What one training came to, as mean IoU, 0..1."""

    prepared: float
    trained: float
    predicted: PredictedGain


def outcome(source: SourceModel, kept: Sequence[Sample], frames: Sequence[Sample]) -> Outcome:
    """Trains on every other frame without its label, and tests on those between.

    Args:
        source: with prepared patches.
        kept: labelled pictures of the source.
        frames: of the road.
    """
    assert source.prepared is not None
    images, test = [frame.image for frame in frames[::2]], frames[1::2]
    prior = norm_prior_of(len(images))
    runs = moved_norm(source.prepared.model, images, prior)
    trained = copy.deepcopy(source.prepared.model)
    learning = SelfLabelSettings(learner="self_labels", source_pictures=len(kept))
    rate = RATE * source.model.spec.task.traits.rate_factor
    settings = TrainingSettings(epochs=EPOCHS, rate=rate, norm_prior=prior)
    torch.manual_seed(SEED)
    train_without_labels(trained, images, kept, learning, settings, SEED)
    seen = evidence(Look.at(runs, images), Look.at(trained, images), source.entropy)
    predicted = source.prepared.gate.predict(seen)
    return Outcome(evaluate(runs, test), evaluate(trained, test), predicted)


def main(
    data: Annotated[Path, typer.Option(help="Folder with CamVid.")],
    bundle: Annotated[Path, typer.Option(help="A bundle of CamVid with prepared patches.")],
) -> None:
    """Print, for each corruption, what a training without labels adds and what the gate says."""
    torch.set_num_threads(1)
    scene = load_scene("camvid-dusk", data).tasks[Task.SEGMENTATION]
    source = SourceModel.of_bundle(Bundle.load(bundle), Task.SEGMENTATION)
    rows = np.random.default_rng(SEED).permutation(len(scene.source_train))[:SOURCE_PICTURES]
    kept = [scene.source_train[row] for row in rows]
    table = Table("corruption", "prepared", "trained on", "gain", "predicted", "the gate")
    gains, taken = [], []
    for corruption in CORRUPTIONS:
        frames = frames_of_drift(
            source.model,
            scene.source_held_out,
            2 * FRAMES,
            (corruption, SEVERITY),
            "held_out",
            SEED,
        )
        found = outcome(source, kept, frames)
        gain, accepted = found.trained - found.prepared, found.predicted.accepted(MARGIN)
        gains.append(gain)
        taken += [gain] if accepted else []
        table.add_row(
            corruption,
            *(f"{100 * value:.1f}" for value in (found.prepared, found.trained)),
            f"{100 * gain:+.1f}",
            f"{100 * found.predicted.gain:+.1f} ± {100 * found.predicted.error:.1f}",
            "takes it" if accepted else "refuses",
        )
    console = Console()
    console.print(table)
    console.print(
        f"mean gain {100 * np.mean(gains):+.1f}, from {100 * min(gains):+.1f} to "
        f"{100 * max(gains):+.1f}; the gate takes {len(taken)}, {sum(g < 0 for g in taken)} worse"
    )


if __name__ == "__main__":
    typer.run(main)
