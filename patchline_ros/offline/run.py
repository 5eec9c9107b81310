"""The command `patchline offline`: chooses data and weights, shows the progress, sums up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from patchline_ros.bundle import MANIFEST, Bundle
from patchline_ros.offline.make import make_bundle
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.sources import camvid_source, sim_source
from patchline_ros.offline.stages import MAKING
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.vision.metrics import METRIC_NAMES
from patchline_ros.vision.processes import is_first_process
from patchline_ros.vision.torchvision_backbones import (
    BackboneName,
    imagenet_weights,
    read_weights,
)

Weights = dict[str, torch.Tensor]

SIM_RECIPE = Recipe(width=0.5, road_epochs=10, sign_epochs=40, learning_rate=2e-3, threads=1)
"""How the shipped bundle is made: small enough to ship, one thread so that its bits repeat."""

CAMVID_RECIPE = Recipe(road_epochs=8, sign_epochs=10)
"""Long enough from ImageNet weights."""


@dataclass(frozen=True)
class OfflineOptions:
    """What the user asked for; `data` None means the simulated road."""

    data: Path | None
    weights: str
    out: Path
    recipe: Recipe
    log: Path | None = None
    """Folder for TensorBoard."""


class OfflineError(ValueError):
    """The options can't be carried out; the message says what to do."""


def choose_weights(
    choice: str, data: Path | None, backbone: BackboneName = "mobilenet_v2"
) -> tuple[Weights | None, str]:
    """Weights to start from, and where they come from in words.

    Args:
        choice: `auto` (a file in `data`/weights, else torchvision's, else none), `imagenet`
            (torchvision's), `none`, or a file.
        data: the data folder, None for the simulated road, which starts at random.
        backbone: whose weights.

    Raises:
        OfflineError: torchvision's weights were asked for by name and can't be fetched.
        ValueError: the file is missing or no weights.
    """
    if choice == "none" or (choice == "auto" and data is None):
        return None, "random weights"
    if choice == "auto" and data is not None:
        files = sorted((data / "weights").glob(f"{backbone}*.npz"))
        if files:
            return read_weights(files[0]), files[0].name
    if choice not in {"auto", "imagenet"}:
        return read_weights(Path(choice)), Path(choice).name
    try:
        return imagenet_weights(backbone), "torchvision's ImageNet weights"
    except (URLError, OSError) as error:
        if choice == "imagenet":
            raise OfflineError(
                f"torchvision's ImageNet weights can't be fetched ({error}); give a file with "
                "--weights, or --weights none"
            ) from error
        return None, f"random weights: torchvision's can't be fetched ({error})"


class _Stages:
    """A progress bar for each stage, made when it is first heard of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, stage: str, share: float, figure: str) -> None:
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=1.0, figure="")
        self._progress.update(self._bars[stage], completed=share, figure=figure)


def run_offline(options: OfflineOptions, console: Console) -> Bundle | None:
    """Makes the bundle and prints what it can do; None where `make_bundle` gives none.

    Raises:
        OfflineError: the output folder holds something else, or weights can't be had.
        ValueError: data or weights are missing or broken.
    """
    out = options.out
    others = [path for path in out.iterdir() if path.name != MAKING] if out.exists() else []
    if others and not (out / MANIFEST).is_file():
        raise OfflineError(f"{out} is not empty and not a bundle; name a new folder with --out")
    with console.status("reading the source data"):
        source = camvid_source(options.data) if options.data else sim_source()
    weights, origin = choose_weights(options.weights, options.data)
    console.print(f"start from {origin}")
    log = None
    if options.log is not None and is_first_process():
        log = TrainingLog(options.log, options.recipe.batch_size)
    with Progress(
        TextColumn("{task.description:16}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[figure]}"),
        console=console,
    ) as progress:
        bundle = make_bundle(source, options.recipe, weights, out, _Stages(progress), log)
    if log is not None:
        log.close()
    if bundle is None:
        return None
    console.print(_summary(bundle))
    console.print(f"bundle written to {out}")
    return bundle


def _summary(bundle: Bundle) -> Table:
    table = Table("task", "metric on held-out source data", "", "mean entropy (nats)")
    for task, entry in bundle.manifest.models.items():
        table.add_row(
            str(task),
            METRIC_NAMES[task],
            f"{100 * entry.source_metric:.1f}",
            f"{entry.source_entropy:.3f}",
        )
    return table
