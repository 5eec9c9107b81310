"""What a benchmark is given from outside: folders, weights to start from, the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bundle import MANIFEST, Bundle
from patchline_ros.files import sha256
from patchline_ros.offline.offline_run import choose_weights

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Inputs:
    """The options of a benchmark that are no part of an experiment."""

    data: Path | None
    out: Path
    weights: str = "auto"
    """A file, `imagenet` (torchvision's), or `auto`: a file in `data`/weights, else torchvision's.
    For experiments that start from ImageNet weights."""
    bundle: Path | None = None
    """Folder whose models are taken where they fit, instead of training source models."""
    device: str = "cpu"
    workers: int = 1


def start_weights(experiment: Experiment, inputs: Inputs) -> Tensors | None:
    """What the source models' training starts from; None: at random.

    Raises:
        ExperimentError: the experiment starts from ImageNet weights, and there are none.
        ValueError: the file is missing or no weights.
    """
    if experiment.source.start == "random":
        return None
    weights, origin = choose_weights(inputs.weights, inputs.data or Path(), experiment.backbone)
    if weights is None:
        raise ExperimentError(
            f"{experiment.name} starts from {experiment.backbone}'s ImageNet weights, but there "
            f"are none ({origin}): name torchvision's .npz or .pth file with --weights"
        )
    return weights


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def origin_of(experiment: Experiment, inputs: Inputs) -> str:
    """Names where the source models come from, the same for the same content.

    Raises:
        BundleError: the bundle is missing or damaged.
        ValueError: as `start_weights` raises it.
    """
    if inputs.bundle is not None:
        name = Bundle.load(inputs.bundle).manifest.name
        return f"bundle {name} {sha256((inputs.bundle / MANIFEST).read_bytes())[:16]}"
    weights = start_weights(experiment, inputs)
    return "random" if weights is None else f"imagenet {_digest(weights)[:16]}"
