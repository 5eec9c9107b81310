"""A patch beside a frozen head: it adds to what the head's last layers read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


def _pointwise(in_channels: int, out_channels: int, zero: bool = False) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    if zero:
        nn.init.zeros_(convolution.weight)
    return convolution


class HeadPatch(nn.Module):
    """Reads taps and one output of the head's body, and gives a summand for that output.

        z = B f + sum_j resize(W[j] x[j])
        f' = f + V relu(depthwise3x3(relu(z))) + sum_j resize(U[j] x[j])

    All letters but x (taps) and f (what the body gave) are 1x1 convolutions; U and V start at
    zero, so that a fresh patch changes nothing. Each convolution of a tap runs at the tap's own
    size. A vector f (a classifier's) is a map of one pixel, and the taps are averaged for it.

    As side patches beside the backbone spare the gradient through the frozen groups, this one
    spares the decoder's pass and gradient: both x and f can be kept across epochs.
    """

    def __init__(self, tap_channels: Sequence[int], channels: int, hidden: int) -> None:
        super().__init__()
        self.reads = nn.ModuleList(_pointwise(below, hidden) for below in tap_channels)
        self.reads_body = nn.Conv2d(channels, hidden, 1)
        self.mix = nn.Sequential(
            nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.ReLU()
        )
        self.gives = _pointwise(hidden, channels, zero=True)
        self.straight = nn.ModuleList(
            _pointwise(below, channels, zero=True) for below in tap_channels
        )

    def forward(self, taps: Sequence[Tensor], feature: Tensor) -> Tensor:
        """The summand, of the shape of `feature`: (B, C, H, W) or (B, C)."""
        vector = feature.dim() == 2
        seen = feature[:, :, None, None] if vector else feature
        size = (seen.shape[2], seen.shape[3])
        if vector:
            taps = [tap.mean(dim=(2, 3), keepdim=True) for tap in taps]
        mixed = self.reads_body(seen)
        for tap, read in zip(taps, self.reads, strict=True):
            mixed = mixed + _resized(read(tap), size)
        summand: Tensor = self.gives(self.mix(mixed))
        for tap, straight in zip(taps, self.straight, strict=True):
            summand = summand + _resized(straight(tap), size)
        return summand[:, :, 0, 0] if vector else summand


def _resized(tap: Tensor, size: tuple[int, int]) -> Tensor:
    if tap.shape[-2:] == size:
        return tap
    if tap.shape[-1] > size[1]:
        return functional.adaptive_avg_pool2d(tap, size)
    return functional.interpolate(tap, size, mode="bilinear", align_corners=False)
