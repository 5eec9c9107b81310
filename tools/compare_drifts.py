"""Measures how near each made drift is to real ones, by MMD^2 of features scaled by clear frames.

    python -m tools.compare_drifts --data DATA

From features of MobileNetV2 with ImageNet weights, which has seen neither. Of the real drifts the
frames to test on are taken: no corruption was made after a look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from patchline_ros.bench.scenes import load_scene
from patchline_ros.drift.corruptions import CORRUPTIONS
from patchline_ros.drift.kernels import median_bandwidth
from patchline_ros.drift.mmd import mmd2
from patchline_ros.offline.drifted import drifted, spread
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.backbone import GroupedBackbone, pooled
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.torchvision_backbones import cut_backbone, read_weights

WEIGHTS: Final = Path("weights") / "mobilenet_v2_imagenet.npz"
SCENES: Final = ("camvid-dusk", "dawn-fog")
"""Their roads by clear day, and in the real drift."""
SEVERITIES: Final = (0.25, 0.5, 0.75, 1.0)
FRAMES: Final = 60
TAP: Final = 3


class Nearest(NamedTuple):
    """The severity of a corruption at which it is nearest to a real drift."""

    mmd2: float
    severity: float


def _features(backbone: GroupedBackbone, samples: Sequence[Sample]) -> NDArray[np.float32]:
    with torch.inference_mode():
        taps = [backbone.tap(image_tensor(sample.image)[None], TAP) for sample in samples]
        return torch.cat([pooled(tap) for tap in taps]).numpy()


def nearest(
    backbone: GroupedBackbone, clear: Sequence[Sample], real: Sequence[Sample]
) -> dict[str, Nearest]:
    """Each corruption of the clear frames beside the real drift, and at severity 0 `unchanged`.

    Args:
        backbone: whose features are compared, on the scale of the clear frames.
        clear: two frames or more.
        real: likewise, of the drift.
    """
    raw = _features(backbone, clear)
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-3)
    bandwidth = median_bandwidth((raw - mean) / scale)
    drift = (_features(backbone, real) - mean) / scale

    def at(corruption: str, severity: float) -> Nearest:
        made = _features(backbone, drifted(clear, (corruption, severity), "train", 0))
        return Nearest(mmd2((made - mean) / scale, drift, bandwidth), severity)

    found = {"unchanged": at(CORRUPTIONS[0], 0.0)}
    for name in CORRUPTIONS:
        found[name] = min(at(name, severity) for severity in SEVERITIES)
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with the scenes' data and the weights.")],
) -> None:
    """Print the least MMD^2 to each real drift, with the severity that gives it."""
    weights = read_weights(data / WEIGHTS)
    backbone = cut_backbone("mobilenet_v2", weights=weights).backbone.eval()
    columns = {}
    for name in SCENES:
        there = load_scene(name, data).tasks[Task.DETECTION]
        clear, real = spread(there.source_train, FRAMES), spread(there.test, FRAMES)
        columns[name] = nearest(backbone, clear, real)
    table = Table("made drift", *columns)
    for row in ("unchanged", *CORRUPTIONS):
        found = [column[row] for column in columns.values()]
        table.add_row(row, *(f"{each.mmd2:.3f} at {each.severity:g}" for each in found))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
