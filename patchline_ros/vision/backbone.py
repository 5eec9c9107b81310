"""Backbones cut into a stem and convolution groups, described by metadata.

A *group* is what one patch stands beside (paper, section 4.1). Nothing outside this module knows
layer names: the rest of the package works on `specs` and on the list of taps that a backbone
returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models


class GroupSpec(NamedTuple):
    """Shape of one convolution group: channels in and out, and how much it shrinks the map."""

    in_channels: int
    out_channels: int
    stride: int


class GroupedBackbone(nn.Module):
    """A stem followed by convolution groups.

    Attributes:
        specs: one `GroupSpec` a group, from the input on.
        reductions: total stride of each tap; `reductions[0]` is the stem's.
    """

    def __init__(
        self,
        stem: nn.Module,
        groups: Sequence[nn.Module],
        specs: Sequence[GroupSpec],
        stem_stride: int,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.groups = nn.ModuleList(groups)
        self.specs = tuple(specs)
        self.reductions = tuple(
            int(stem_stride * np.prod([spec.stride for spec in specs[:i]]))
            for i in range(len(specs) + 1)
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each tap; the stem's first."""
        return (self.specs[0].in_channels, *(spec.out_channels for spec in self.specs))

    def last_tap_at(self, reduction: int) -> int:
        """Index of the deepest tap with this total stride."""
        return len(self.reductions) - 1 - self.reductions[::-1].index(reduction)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Taps [stem, group 1, ..., group G] of images (B, 3, H, W)."""
        taps = [self.stem(images)]
        for group in self.groups:
            taps.append(group(taps[-1]))
        return taps

    def tap(self, images: Tensor, index: int) -> Tensor:
        """One tap, computed no deeper than it lies."""
        tap: Tensor = self.stem(images)
        for group in self.groups[:index]:
            tap = group(tap)
        return tap


class CutBackbone(NamedTuple):
    """A grouped backbone and the layer that the library puts between it and a classifier."""

    backbone: GroupedBackbone
    classifier_neck: nn.Module
    classifier_channels: int


# MobileNetV2's inverted residual blocks, by torchvision's index, that make up each of its 7 groups.
_MOBILENET_V2_GROUPS = ((1, 2), (2, 4), (4, 7), (7, 11), (11, 14), (14, 17), (17, 18))


def read_weights(path: Path) -> dict[str, Tensor]:
    """State dict from a `.npz` or a `.pth` file (tensors only, nothing is unpickled freely).

    Raises:
        ValueError: the file is missing or is neither kind.
    """
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist; name a .npz or .pth file")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    if path.suffix in {".pth", ".pt"}:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    raise ValueError(f"weights file {path} has the ending {path.suffix!r}; use .npz, .pth or .pt")


def mobilenet_v2(width: float = 1.0, weights: Mapping[str, Tensor] | None = None) -> CutBackbone:
    """MobileNetV2 in 7 groups (76,416 patch weights at width 1).

    Args:
        width: channel multiplier of torchvision's model.
        weights: torchvision state dict to start from (the classifier's entries are not used), or
            None for a random start.

    Raises:
        ValueError: the weights do not fit the architecture.
    """
    whole = models.mobilenet_v2(weights=None, width_mult=width)
    if weights is not None:
        features = {
            name.removeprefix("features."): value
            for name, value in weights.items()
            if name.startswith("features.")
        }
        try:
            whole.features.load_state_dict(features)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise ValueError(
                f"these weights are not those of a MobileNetV2 of width {width}: {reason}"
            ) from error
    blocks = list(whole.features)
    groups, specs = [], []
    channels = blocks[0].out_channels
    for start, end in _MOBILENET_V2_GROUPS:
        group = nn.Sequential(*blocks[start:end])
        out_channels = blocks[end - 1].out_channels
        stride = int(np.prod([block.stride for block in blocks[start:end]]))
        specs.append(GroupSpec(channels, out_channels, stride))
        groups.append(group)
        channels = out_channels
    return CutBackbone(
        backbone=GroupedBackbone(blocks[0], groups, specs, stem_stride=2),
        classifier_neck=blocks[-1],
        classifier_channels=blocks[-1].out_channels,
    )


def pooled(tap: Tensor) -> Tensor:
    """Drift features of a tap (B, C, H, W): mean and deviation of each channel, (B, 2 C)."""
    return torch.cat([tap.mean(dim=(2, 3)), tap.std(dim=(2, 3))], dim=1)


def reestimate_norm(backbone: nn.Module, batches: list[Tensor]) -> None:
    """Replaces the batch-norm statistics by those of `batches`, in place; no labels are used.

    Each layer gets the average of its statistics over the batches, all layers in one pass.

    Args:
        backbone: module whose BatchNorm layers are re-estimated; left in evaluation mode.
        batches: images, each (B, 3, H, W) with B * H * W > 1 at every layer.
    """
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    backbone.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for images in batches:
            backbone(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    backbone.eval()
