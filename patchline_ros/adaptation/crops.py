"""Training on crops: the same window of what is kept of a view and of its target.

A decoder's cost is proportional to the area that it sees. What the frozen part gave for the whole
view is cut, so that a crop's frozen activations have seen their surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def crop_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Half of each side of a picture of this (height, width), in multiples of the stride.

    A side of less than two strides stays whole.
    """
    height, width = (side if side < 2 * stride else side // (2 * stride) * stride for side in size)
    return height, width


def crop_share(size: tuple[int, int], stride: int) -> float:
    """Which part of a picture's area a crop is."""
    return math.prod(crop_size(size, stride)) / math.prod(size)


def draw_window(size: tuple[int, int], stride: int, generator: torch.Generator) -> Window:
    """A random window of `crop_size` that begins at multiples of the stride."""
    crop = crop_size(size, stride)
    top, left = (
        stride * int(torch.randint((whole - part) // stride + 1, (), generator=generator))
        for whole, part in zip(size, crop, strict=True)
    )
    return Window(top, left, *crop)


def crop_map(values: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    """The window of a map (C, H, W) of a picture of `size`; a vector (C,) stays as it is."""
    if values.dim() == 1:
        return values
    # Strides are powers of two; a map of a size that is no multiple of its stride is rounded up.
    stride = 2 ** round(math.log2(size[0] / values.shape[1]))
    top, left = window.top // stride, window.left // stride
    height, width = -(-window.height // stride), -(-window.width // stride)
    return values[:, top : top + height, left : left + width]


def crop_target(target: Any, window: Window) -> Any:
    """The window of a class map (H, W), or the boxes that reach into it, as seen from its corner.

    A box that is cut keeps its sides: those locations of the crop that lie in it learn what they
    would learn of the whole picture.
    """
    if isinstance(target, Tensor):
        return target[
            window.top : window.top + window.height, window.left : window.left + window.width
        ]
    corner = target["boxes"].new_tensor([window.left, window.top] * 2)
    boxes = target["boxes"] - corner
    reaches = (boxes[:, 2:] > 0).all(dim=1) & (
        boxes[:, :2] < boxes.new_tensor([window.width, window.height])
    ).all(dim=1)
    return {"boxes": boxes[reaches], "labels": target["labels"][reaches]}


def crop_batch(
    parts: Sequence[Tensor], targets: Any, windows: Sequence[Window], size: tuple[int, int]
) -> tuple[list[Tensor], Any]:
    """A window of each view of a batch.

    Args:
        parts: of the frozen part, (B, C, H, W) or (B, C).
        targets: class maps (B, H, W), or a dict of `boxes` and `labels` for each view.
        windows: one for each view, all of one size.
        size: (height, width) of the views' pictures.
    """
    cut = [
        torch.stack([crop_map(each, w, size) for each, w in zip(part, windows, strict=True)])
        for part in parts
    ]
    channels_last = [
        part.contiguous(memory_format=torch.channels_last) if part.dim() == 4 else part
        for part in cut
    ]
    of_views = [crop_target(target, w) for target, w in zip(targets, windows, strict=True)]
    return channels_last, torch.stack(of_views) if isinstance(targets, Tensor) else of_views
