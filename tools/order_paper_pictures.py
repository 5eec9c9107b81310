"""How our measure of drift orders the authors' demo pictures for their patch predictor.

    python -m tools.order_paper_pictures --data DATA

`DATA/paper_predictor/patch-K/NUMBERC_*.png` are CORe50 pictures under ten grades of snow, NUMBER of
flakes each, in folders by the patches that the authors' VGG16 needed. The clear pictures are not
there: the two mildest grades stand for them. Each other grade's MMD^2 from these is measured on
every tap of MobileNetV2 with ImageNet weights, as the predictors here read a drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from patchline_ros.adaptation.predictor import DriftedSet
from patchline_ros.adaptation.readers import TapReader
from patchline_ros.datasets.picture_files import read_rgb
from patchline_ros.tasks import Image
from patchline_ros.vision.backbone import GroupedBackbone, pooled
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.torchvision_backbones import cut_backbone, read_weights

WEIGHTS: Final = Path("weights") / "mobilenet_v2_imagenet.npz"
MILDEST: Final = 2
"""Grades that stand for the clear pictures."""


def graded(folder: Path) -> tuple[dict[int, list[Image]], dict[int, int]]:
    """The pictures by their number of flakes, and the patches that the authors found for each.

    Raises:
        ValueError: there are no pictures.
    """
    pictures: dict[int, list[Image]] = {}
    patches: dict[int, int] = {}
    for path in sorted(folder.glob("patch-*/*.png")):
        flakes = int(path.name.partition("C_")[0])
        pictures.setdefault(flakes, []).append(read_rgb(path))
        patches[flakes] = int(path.parent.name.removeprefix("patch-"))
    if len(pictures) <= MILDEST + 1:
        raise ValueError(f"there are no graded pictures in {folder}")
    return pictures, patches


def _features(backbone: GroupedBackbone, images: Sequence[Image]) -> np.ndarray:
    with torch.inference_mode():
        rows = [
            torch.cat([pooled(tap)[0] for tap in backbone(image_tensor(image)[None])])
            for image in images
        ]
    return torch.stack(rows).numpy()


def drifts(backbone: GroupedBackbone, pictures: Mapping[int, list[Image]]) -> dict[int, float]:
    """MMD^2 of each grade from the mildest ones, mean over the taps."""
    mildest = sorted(pictures)[:MILDEST]
    clear = _features(backbone, [image for flakes in mildest for image in pictures[flakes]])
    reader = TapReader.from_source(backbone.channels, clear)
    taps = len(backbone.channels)
    found = {}
    for flakes in sorted(pictures.keys() - set(mildest)):
        features = _features(backbone, pictures[flakes])
        read = reader.read(DriftedSet(pictures[flakes], features, mmd2=0.0), [0])
        found[flakes] = float(read[0, :taps].mean())
    return found


def main(
    data: Annotated[Path, typer.Option(help="Folder with paper_predictor and the weights.")],
) -> None:
    """Print each grade's MMD^2 and how it goes with the flakes and the authors' patches."""
    pictures, patches = graded(data / "paper_predictor")
    backbone = cut_backbone("mobilenet_v2", weights=read_weights(data / WEIGHTS)).backbone.eval()
    found = drifts(backbone, pictures)
    table = Table("flakes", "pictures", "the authors' patches", "MMD^2")
    for flakes, value in found.items():
        table.add_row(str(flakes), str(len(pictures[flakes])), str(patches[flakes]), f"{value:.3f}")
    console = Console()
    console.print(table)
    for name, other in (("flakes", list(found)), ("patches", [patches[f] for f in found])):
        console.print(
            f"rank correlation with the {name}: "
            f"{spearmanr(list(found.values()), other).statistic:.2f}"
        )


if __name__ == "__main__":
    typer.run(main)
