"""A backbone as a stem and convolution groups, described by metadata.

A *group* is what one patch stands beside (paper, section 4.1). The rest of the package works on
`specs` and on the list of taps that a backbone returns; it knows no layer names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class GroupSpec(NamedTuple):
    """Shape of one convolution group: channels in and out, and how much it shrinks the map."""

    in_channels: int
    out_channels: int
    stride: int
    pool: int = 0
    """Side of the max pool that the group begins with and that has the group's stride; 0: the
    stride sits in a convolution."""


def spanned(specs: Sequence[GroupSpec]) -> GroupSpec:
    """The shape of several consecutive groups as one."""
    stride = int(np.prod([spec.stride for spec in specs]))
    pool = specs[0].pool if len(specs) == 1 else 0
    return GroupSpec(specs[0].in_channels, specs[-1].out_channels, stride, pool)


class GroupedBackbone(nn.Module):
    """A stem followed by convolution groups, each a sequence of blocks.

    Attributes:
        specs: one `GroupSpec` a group, from the input on.
        reductions: total stride of each tap; `reductions[0]` is the stem's.
    """

    def __init__(
        self,
        stem: nn.Module,
        groups: Sequence[nn.Sequential],
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


def pooled(tap: Tensor) -> Tensor:
    """Drift features of a tap (B, C, H, W): mean and deviation of each channel, (B, 2 C)."""
    return torch.cat([tap.mean(dim=(2, 3)), tap.std(dim=(2, 3))], dim=1)


def reestimate_norm(backbone: nn.Module, batches: list[Tensor], prior: int = 0) -> None:
    """Moves the batch-norm statistics to those of `batches`, in place; no labels are used.

    Each layer gets the average of its statistics over the batches, all layers in one pass, blended
    with those that it had: n / (n + prior) of the new for n images (Schneider et al., NeurIPS
    2020). A backbone without batch norm (VGG16, Swin-T) stays as it is.

    Args:
        backbone: module whose BatchNorm layers are re-estimated; left in evaluation mode.
        batches: images, each (B, 3, H, W) with B * H * W > 1 at every layer.
        prior: as how many images the old statistics count; 0 replaces them.
    """
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    before = [(_statistics(norm)[0].clone(), _statistics(norm)[1].clone()) for norm in norms]
    backbone.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for images in batches:
            backbone(images)
    images_seen = sum(len(images) for images in batches)
    share = images_seen / (images_seen + prior)
    for norm, momentum, old in zip(norms, momenta, before, strict=True):
        norm.momentum = momentum
        for statistic, had in zip(_statistics(norm), old, strict=True):
            statistic.copy_(had.lerp(statistic, share))
    backbone.eval()


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var
