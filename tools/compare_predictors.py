"""Compares the patch predictors on 18 graded drifts of CamVid's day, each left out once as a whole.

    python -m tools.compare_predictors --data DATA [--bundle bundles/camvid] [--vgg16 WEIGHTS]

Labels as the paper makes them: patches alone are trained (frozen head, norm statistics of the
source), three trainings of each number. Small pictures, so that it ends within half an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from patchline_ros.adaptation.readers import ImageReader
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import Bundle
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.host import all_cores
from patchline_ros.jobs.scheduler import ProcessPool
from patchline_ros.manifest import DriftLabel
from patchline_ros.offline.drifted import WatchedSource, backbone_features, spread
from patchline_ros.offline.predictor_data import PredictorSettings, predictor_data
from patchline_ros.offline.source_config import held_out_indices
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import resized
from patchline_ros.vision.model import TaskModel
from patchline_ros.vision.torchvision_backbones import read_weights
from tools.predictor_study import PredictorStudy, learn_predictors

SIZE = (96, 128)
VGG16_SIZE = (64, 96)
FRAMES = 24
COUNTS = (0, 1, 2, 3, 5, 7)
EPOCHS = 15
TRAININGS = 3
TAP = 3
WINDOW = 16


def _small(model: TaskModel) -> TaskModel:
    small = TaskModel(model.spec.model_copy(update={"input_size": SIZE}))
    small.load_state_dict(model.state_dict())
    return small.eval()


def _print(labels: Sequence[DriftLabel], study: PredictorStudy, console: Console) -> None:
    table = Table("predictor", "accuracy", "mean error", "GFLOPs a frame", "says")
    table.add_row("(truth)", "", "", "", " ".join(str(label.patches) for label in labels))
    for name, score in study.scores.items():
        table.add_row(
            name,
            f"{score.accuracy:.2f}",
            f"{score.mean_absolute_error:.2f}",
            f"{study.gflops(name):.4f}",
            " ".join(str(k) for k in score.predicted),
        )
    console.print(table)


def main(
    data: Annotated[Path, typer.Option(help="Folder with camvid/day.")],
    bundle: Annotated[Path, typer.Option(help="Its lanes model is adapted.")] = Path(
        "bundles/camvid"
    ),
    vgg16: Annotated[Path | None, typer.Option(help="Weights; random ones without.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for figures; what lies there is not measured again.")
    ] = Path("runs") / "predictors",
    seed: int = 0,
) -> None:
    """Label the drifts, train the predictors, print how they do on drifts that they did not see."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    console = Console(highlight=False)
    model = _small(Bundle.load(bundle).model(Task.SEGMENTATION))
    day = CamVid(data / "camvid" / "day")
    held_out = set(held_out_indices(len(day)))
    samples: list[list[Sample]] = [[], []]
    for i in range(len(day)):
        samples[i in held_out].append(resized(day[i].samples[Task.SEGMENTATION], SIZE))
    train, test = samples
    reference = DriftReference.from_source(
        backbone_features(model, TAP, train), window=WINDOW, false_alarm=1000
    )
    watched = WatchedSource(model, reference, TAP, spread(train, FRAMES), spread(test, FRAMES))
    with Progress(console=console) as progress, closing(ProcessPool(all_cores())) as processes:
        bar = progress.add_task("trainings", total=1.0)
        labels, _ = predictor_data(
            watched,
            PredictorSettings(counts=COUNTS, trainings=TRAININGS),
            seed,
            out,
            processes,
            lambda share: progress.update(bar, completed=share),
            PatchSettings(k=1, head="frozen"),
            TrainingSettings(epochs=EPOCHS, mirror=False, reestimate_norm=False),
        )
    for label in labels:
        metrics = " ".join(f"{k}:{100 * np.mean(m):.1f}" for k, m in label.metrics.items())
        console.print(
            f"{label.corruption} {label.severity} MMD^2 {label.mmd2:.2f} needs {label.patches}   "
            f"{metrics}"
        )
    images = ImageReader(None if vgg16 is None else read_weights(vgg16), VGG16_SIZE)
    _print(labels, learn_predictors(watched, labels, images, seed), console)
    majority = np.bincount([label.patches for label in labels]).max() / len(labels)
    console.print(f"always the commonest number: accuracy {majority:.2f}")


if __name__ == "__main__":
    typer.run(main)
