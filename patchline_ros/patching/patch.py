"""One patch: the small trained module that stands beside one frozen convolution group."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from patchline_ros.vision.backbone import GroupSpec


class Patch(nn.Module):
    """A 1x1 convolution with the group's stride, an activation, and a scale a channel.

    The scale starts at zero, so that a fresh patch changes nothing. It stands behind the
    activation: a convolution that starts at zero in front of a ReLU would get no gradient.

    Source: paper, section 4.1 (the convolution and the activation); the scale is ours.
    """

    def __init__(self, spec: GroupSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(spec.in_channels, spec.out_channels, 1, spec.stride, bias=False)
        self.activation = nn.ReLU()
        self.scale = nn.Parameter(torch.zeros(spec.out_channels, 1, 1))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, tap: Tensor) -> Tensor:
        """(B, in, H, W) to the summand of the group's output, (B, out, H / stride, W / stride)."""
        return cast(Tensor, self.scale * self.activation(self.conv(tap)))
