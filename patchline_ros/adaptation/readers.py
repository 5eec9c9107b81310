"""What patch predictors read of a drifted set: the paper's VGG16 features, or the taps' drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from patchline_ros.adaptation.predictor import DriftedSet, Reader
from patchline_ros.drift.kernels import Features, checked_sample, median_bandwidth
from patchline_ros.drift.mmd import mmd2
from patchline_ros.tasks import Image
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.inputs import image_tensor, resize_image
from patchline_ros.vision.model import SMALLEST_SIDE, TaskModel
from patchline_ros.vision.torchvision_backbones import Weights, cut_backbone

PAPER_SHARE: Final = 0.1
"""Share of a set's frames that the paper's predictor reads on the car."""
PAPER_SIZE: Final = (350, 350)
"""Height and width at which it reads them."""
LARGEST_SIDE: Final = 1024
"""At which VGG16 reads a picture; one of 1024 x 1024 takes 630 GFLOPs."""
_BATCH = 8


def tap_features(model: TaskModel, images: Sequence[Image]) -> Features:
    """(n, d) pooled features of all taps of a source model, side by side from the stem on.

    It takes one pass of the source backbone a picture.
    """
    rows = []
    with torch.inference_mode():
        for image in images:
            taps = model.backbone(image_tensor(resize_image(image, model.spec.input_size))[None])
            rows.append(torch.cat([_pooled(tap)[0] for tap in taps]))
    return torch.stack(rows).numpy()


def _pooled(tap: Tensor) -> Tensor:
    """`pooled`, also of a map that small pictures have left with one place: it deviates by 0."""
    if tap.shape[2:].numel() > 1:
        return pooled(tap)
    means = tap.mean(dim=(2, 3))
    return torch.cat([means, torch.zeros_like(means)], dim=1)


class TapReader(Reader):
    """Reads how far each tap of the watched source model has drifted.

    Three numbers a tap: the MMD^2 of the whole set, and how far this frame's channel means and
    channel deviations lie from the source, as the root mean square of the standardised features,
    on a logarithmic scale. Whole feature vectors would be hundreds of numbers for a classifier
    that learns from 18 sets.
    """

    kind = "light"
    share = 1.0
    hidden = ()
    source: Tensor
    mean: Tensor
    scale: Tensor
    bandwidths: Tensor

    def __init__(self, widths: Sequence[int], rows: int) -> None:
        """An empty reader, to be filled by `from_source` or by loading.

        Args:
            widths: features of each tap, twice its channels.
            rows: source frames that it compares with.
        """
        super().__init__()
        self.widths = tuple(widths)
        self.width = 3 * len(self.widths)
        self.register_buffer("source", torch.zeros(rows, sum(widths)))
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.ones(sum(widths)))
        self.register_buffer("bandwidths", torch.ones(len(self.widths), dtype=torch.float64))

    @classmethod
    def from_source(cls, channels: Sequence[int], raw: Features) -> TapReader:
        """A reader that compares with source frames.

        Args:
            channels: of each tap of the watched model.
            raw: (n, d) `tap_features` of source frames.

        Raises:
            ValueError: other than twice the channels as features, fewer than two frames, values
                that are not finite, or a tap on which half the frames or more are equal.
        """
        reader = cls([2 * channel for channel in channels], len(raw))
        checked_sample(raw, "the source")
        reader._check_width(raw)
        mean = raw.mean(axis=0)
        scale = np.maximum(raw.std(axis=0), 1e-6)
        standardised = ((raw - mean) / scale).astype(np.float32)
        reader.source.copy_(torch.from_numpy(standardised))
        reader.mean.copy_(torch.from_numpy(mean))
        reader.scale.copy_(torch.from_numpy(scale))
        bandwidths = [median_bandwidth(tap) for tap in reader._by_tap(standardised)]
        reader.bandwidths.copy_(torch.tensor(bandwidths, dtype=torch.float64))
        return reader

    def _check_width(self, raw: Features) -> None:
        if raw.ndim != 2 or raw.shape[1] != sum(self.widths):
            raise ValueError(
                f"features of the shape {raw.shape} came; the taps of the watched model give "
                f"{sum(self.widths)} a frame"
            )

    def _by_tap(self, features: Features) -> list[Features]:
        return np.split(features, np.cumsum(self.widths)[:-1], axis=1)

    def read(self, drifted: DriftedSet, rows: Sequence[int]) -> Tensor:
        """(len(rows), 3 a tap): the MMD^2 of all taps, then the distances of all taps.

        Raises:
            ValueError: features of another model.
        """
        self._check_width(drifted.features)
        features = ((drifted.features - self.mean.numpy()) / self.scale.numpy()).astype(np.float32)
        taps = self._by_tap(features)
        source = self._by_tap(self.source.numpy())
        drifts = [
            mmd2(tap, reference, float(bandwidth))
            for tap, reference, bandwidth in zip(taps, source, self.bandwidths, strict=True)
        ]
        halves = [half[list(rows)] for tap in taps for half in np.split(tap, 2, axis=1)]
        distances = [np.sqrt(np.square(half).mean(axis=1)) for half in halves]
        return torch.cat(
            [
                torch.tensor(drifts, dtype=torch.float32).expand(len(rows), -1),
                torch.from_numpy(np.log1p(np.stack(distances, axis=1)).astype(np.float32)),
            ],
            dim=1,
        )


class ImageReader(Reader):
    """Reads the pictures by a frozen VGG16: its deepest map, averaged (paper, section 4.2).

    The paper does not say how the map is brought to a vector, nor how wide the three fully
    connected layers are. Averaging leaves 512 numbers.
    """

    kind = "vgg16"
    share = PAPER_SHARE
    hidden = (256, 64)

    def __init__(
        self, weights: Weights | None, size: tuple[int, int] = PAPER_SIZE, vgg16_width: float = 1.0
    ) -> None:
        """A reader on torchvision's VGG16, frozen.

        Args:
            weights: torchvision state dict; None: random ones, drawn from the global state.
            size: (height, width) that pictures are brought to.
            vgg16_width: multiplier of every channel count.

        Raises:
            ValueError: weights that do not fit, or a size under 32 a side.
        """
        super().__init__()
        if min(size) < SMALLEST_SIDE:
            raise ValueError(
                f"VGG16 shrinks a picture 32 times; {size} is too small for it, give at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
            )
        backbone = cut_backbone("vgg16", vgg16_width, weights).backbone
        self.backbone = backbone.eval().requires_grad_(False)
        self.size = size
        self.vgg16_width = vgg16_width
        self.width = backbone.channels[-1]

    def read(self, drifted: DriftedSet, rows: Sequence[int]) -> Tensor:
        """(len(rows), width) averages over VGG16's last map, behind its last pool."""
        read = []
        for start in range(0, len(rows), _BATCH):
            pictures = [drifted.images[row] for row in rows[start : start + _BATCH]]
            batch = torch.stack([image_tensor(resize_image(p, self.size)) for p in pictures])
            with torch.no_grad():
                deepest = self.backbone(batch)[-1]
            read.append(functional.max_pool2d(deepest, 2).mean(dim=(2, 3)))
        return torch.cat(read)
