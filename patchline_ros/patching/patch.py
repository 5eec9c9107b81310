"""One patch: the small trained module that stands beside frozen convolution groups."""

from __future__ import annotations

from typing import Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from patchline_ros.config_files import StrictModel
from patchline_ros.vision.backbone import GroupSpec

PatchInit = Literal["zero_scale", "normal", "xavier", "uniform"]
NORMAL_STD = 0.01

LEAST_STRIDED_CHANNELS: Final = 16
"""Least channels of a strided patch. With fewer, oneDNN's gradient of a strided 1x1 convolution
with channels last writes past its memory (oneDNN issue 6035)."""


class PatchDesign(StrictModel):
    """What a patch is made of."""

    init: PatchInit = "zero_scale"
    """`zero_scale`: a trained factor a channel behind the activation starts at zero, so that a
    fresh patch changes nothing. The others start the convolution alone, as the paper does:
    `normal` (deviation 0.01), `xavier` (uniform) or `uniform` (within 1 / sqrt(inputs))."""
    norm: bool = False
    """Batch norm between convolution and activation."""
    convolutions: int = Field(default=1, ge=1, le=4)
    """1x1 convolutions, each with its activation, one behind the other (paper, section 6.3.2)."""
    depthwise: bool = False
    """A 3x3 depthwise convolution with an activation behind them: what stands around counts too."""


class Patch(nn.Module):
    """A 1x1 convolution with the group's stride, an optional norm, and an activation.

    Where the group begins with a max pool the patch does too, and its convolution has no stride.
    A convolution that starts at zero in front of a ReLU would get no gradient: the zero that lets
    a fresh patch change nothing is a factor behind the activation.

    Source: paper, section 4.1; the factor is ours.
    """

    def __init__(self, spec: GroupSpec, design: PatchDesign | None = None) -> None:
        super().__init__()
        design = design or PatchDesign()
        self.spec = spec
        stride = 1 if spec.pool else spec.stride
        self._skip = stride if spec.in_channels < LEAST_STRIDED_CHANNELS else 1
        layers: list[nn.Module] = []
        for i in range(design.convolutions):
            first = i == 0
            convolution = nn.Conv2d(
                spec.in_channels if first else spec.out_channels,
                spec.out_channels,
                1,
                stride // self._skip if first else 1,
                bias=False,
            )
            _initialise(convolution, design.init)
            layers.append(convolution)
            if design.norm:
                layers.append(nn.BatchNorm2d(spec.out_channels))
            layers.append(nn.ReLU())
        if design.depthwise:
            channels = spec.out_channels
            around = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            _initialise(around, design.init)
            layers += [around, nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.scale: nn.Parameter | None = None
        if design.init == "zero_scale":
            self.scale = nn.Parameter(torch.zeros(spec.out_channels, 1, 1))

    def forward(self, tap: Tensor) -> Tensor:
        """(B, in, H, W) to the summand of the groups' output, (B, out, H / stride, W / stride)."""
        if self.spec.pool:
            # The padding with which torchvision's backbones pool.
            padding = (self.spec.pool - 1) // 2
            tap = functional.max_pool2d(tap, self.spec.pool, self.spec.stride, padding)
        # The same pixels as a strided 1x1 convolution reads.
        summand: Tensor = self.layers(tap[:, :, :: self._skip, :: self._skip])
        return summand if self.scale is None else self.scale * summand


def _initialise(convolution: nn.Conv2d, init: PatchInit) -> None:
    if init == "zero_scale":
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    elif init == "normal":
        nn.init.normal_(convolution.weight, std=NORMAL_STD)
    elif init == "xavier":
        nn.init.xavier_uniform_(convolution.weight)
    else:
        bound = convolution.weight[0].numel() ** -0.5
        nn.init.uniform_(convolution.weight, -bound, bound)
