"""The command `patchline offline`: configuration, data and weights, the progress, a summary."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import URLError

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from patchline_ros.bundle import CARD, MANIFEST, Bundle
from patchline_ros.jobs.executors import executor_at
from patchline_ros.offline.bundle_making import make_bundle
from patchline_ros.offline.config import RANDOM, OfflineConfig, find_config, is_file
from patchline_ros.offline.sources import SourceData, load_source
from patchline_ros.offline.stages import MAKING
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.vision.fabric import is_first_process
from patchline_ros.vision.torchvision_backbones import (
    WEIGHTS_FILES,
    BackboneName,
    imagenet_weights,
    read_weights,
)

Weights = dict[str, torch.Tensor]
WEIGHTS: Final = ("auto", "imagenet", "none")
"""What weights are called that are no file."""
BROKEN_SHOWN: Final = 10
"""Pictures that can't be read and are named."""


@dataclass(frozen=True)
class OfflineOptions:
    """What the user asked for; None: as the configuration says.

    Attributes:
        config: name or file of the configuration; None: camvid with `data`, sim without.
        data: DATA, the folder that paths of the configuration are relative to; None: the folder of
            the configuration's file.
        weights: see `choose_weights`.
        out: folder of the bundle; None: the configuration's name below `bundles`.
        threads: of PyTorch.
        seed: of everything that is drawn by chance.
        workers: how many read pictures, and train patches, at a time.
        ray_address: of a Ray cluster that trains the patches instead; None: none does.
        log: folder for TensorBoard; None: no curves.
    """

    config: str | None = None
    data: Path | None = None
    weights: str | None = None
    out: Path | None = None
    threads: int | None = None
    seed: int | None = None
    workers: int | None = None
    ray_address: str | None = None
    log: Path | None = None


class OfflineError(ValueError):
    """The options can't be followed; the message says what to do."""


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
        there = sorted((data / "weights").glob(f"{backbone}*"))
        files = [path for path in there if path.suffix in WEIGHTS_FILES]
        if files:
            return read_weights(files[0]), files[0].name
    if choice not in WEIGHTS:
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


def resolve_config(options: OfflineOptions) -> OfflineConfig:
    """The configuration, with the options in place of what it says.

    Raises:
        ValueError: there is no such configuration, or something in it is wrong.
    """
    config = find_config(options.config or ("camvid" if options.data else "sim"))
    recipe = _given({"threads": options.threads, "seed": options.seed})
    return config.model_copy(
        update={
            "recipe": config.recipe.model_copy(update=recipe),
            **_given({"workers": options.workers}),
        }
    )


def _given(values: dict[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def data_folder(options: OfflineOptions) -> Path | None:
    """What paths of the configuration are relative to."""
    if options.data is None and options.config is not None and is_file(options.config):
        return Path(options.config).parent
    return options.data


def _weights(options: OfflineOptions, config: OfflineConfig, data: Path | None) -> str:
    """Which to choose; a file of the command line is relative to where the user is."""
    if options.weights is not None:
        return options.weights
    return config.weights if config.weights in WEIGHTS else str((data or Path()) / config.weights)


def _vgg16_weights(config: OfflineConfig, data: Path | None) -> tuple[Weights | None, str]:
    """What the paper's patch predictor reads by, and where it comes from in words."""
    if config.vgg16 is None or config.vgg16.weights == RANDOM:
        return None, "random weights"
    path = (data or Path()) / config.vgg16.weights
    return read_weights(path), path.name


def _check_folder(out: Path) -> None:
    """Only a bundle, or one that was not finished, may be replaced."""
    if not out.exists() or any((out / name).exists() for name in (MANIFEST, MAKING)):
        return
    if any(out.iterdir()):
        raise OfflineError(f"{out} is not empty and not a bundle; name a new folder with --out")


def _print_broken(source: SourceData, console: Console) -> None:
    """How many pictures were left out, and why the first of them."""
    if not source.broken:
        return
    console.print(f"{len(source.broken)} pictures can't be read and are left out:", markup=False)
    for sentence in source.broken[:BROKEN_SHOWN]:
        console.print(f"    {sentence}", markup=False)
    more = len(source.broken) - BROKEN_SHOWN
    if more > 0:
        console.print(f"    and {more} more; `patchline data check` names all", markup=False)


def run_offline(options: OfflineOptions, console: Console) -> Bundle | None:
    """Makes the bundle and prints what it can do; None where `make_bundle` gives none.

    Raises:
        OfflineError: the output folder holds something else, or weights can't be had.
        ValueError: configuration, data or weights are missing or broken.
    """
    config, data = resolve_config(options), data_folder(options)
    out = options.out or Path("bundles") / config.name
    _check_folder(out)
    executor = executor_at(options.ray_address, config.workers)
    log = None
    if options.log is not None and is_first_process():
        log = TrainingLog(options.log, config.recipe.batch_size)
    vgg16, vgg16_origin = _vgg16_weights(config, data)
    choice, backbone = _weights(options, config, data), config.recipe.backbone
    # What may have to be fetched comes after the data; that a file is missing is said at once.
    of_file = None if choice in WEIGHTS else choose_weights(choice, data, backbone)
    with console.status("reading the source data"):
        source = load_source(config.sources, data, config.input_sizes, config.workers)
    _print_broken(source, console)
    weights, origin = of_file or choose_weights(choice, data, backbone)
    console.print(f"start from {origin}")
    made_from = config.model_copy(update={"weights": origin})
    if config.vgg16 is not None:
        console.print(f"the patch predictor's VGG16: {vgg16_origin}")
        named = config.vgg16.model_copy(update={"weights": vgg16_origin})
        made_from = made_from.model_copy(update={"vgg16": named})
    with (
        Progress(
            TextColumn("{task.description:16}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[figure]}"),
            console=console,
        ) as progress,
        closing(executor),
        closing(log) if log else nullcontext(),
    ):
        bundle = make_bundle(
            source, made_from, weights, out, executor, _Stages(progress), log, vgg16
        )
    if bundle is None:
        return None
    console.print(_summary(bundle))
    console.print(f"bundle written to {out}; {out / CARD} shows it")
    return bundle


def _summary(bundle: Bundle) -> Table:
    table = Table("task", "metric on held-out source data", "", "mean entropy (nats)")
    for task, entry in bundle.manifest.models.items():
        table.add_row(
            str(task),
            task.traits.metric,
            f"{100 * entry.source_metric:.1f}",
            f"{entry.source_entropy:.3f}",
        )
    return table
