"""YOLOv4's anchors: which boxes they can express, which they answer for, and the loss of that.

An anchor is a pair of sides at the centre of a cell. A sigmoid moves the centre, as in YOLOv4, and
here the sides too: YOLOv4's exponential has no bounds, and the loss none where a side is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

STRIDES = (8, 16, 32)
ANCHORS = (
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
"""Width and height of YOLOv4's anchors at each stride, for pictures of ANCHORS_SIDE pixels."""
ANCHORS_SIDE = 512
CENTER_RANGE = 1.0
"""Farthest that a box's centre can be from the cell's, in cells and in each direction: a grid
sensitivity of 2. Neighbouring cells share a box, and no centre lies at an end of the sigmoid."""
CENTER_REACH = 0.75
"""Largest offset or ratio up to which an anchor answers for a box."""
SIDE_RANGE = 8.0
"""Greatest ratio of a box's side to the anchor's, and of the anchor's to the box's."""
SIDE_REACH = 4.0
"""Largest offset or ratio up to which an anchor answers for a box."""
IGNORED_IOU = 0.7
"""An anchor that answers for no box and still finds one this well is not told that it is wrong."""
BOX_WEIGHT = 5.0


class AnchorGrid(NamedTuple):
    """All anchors of a picture, level by level, in pixels of the input."""

    centers: Tensor
    """(N, 2) x and y of the cell's centre."""
    sides: Tensor
    """(N, 2) width and height."""
    strides: Tensor
    """(N, 1) side of the cell."""


def anchor_grid(
    levels: Sequence[tuple[int, int]], input_size: tuple[int, int], like: Tensor
) -> AnchorGrid:
    """The anchors of maps of these (height, width), in the order of `flattened`.

    Anchors are scaled alike in both directions, by the picture's area: what is square stays so.
    """
    scale = math.sqrt(input_size[0] * input_size[1]) / ANCHORS_SIDE
    centers, sides, strides = [], [], []
    for (height, width), stride, anchors in zip(levels, STRIDES, ANCHORS, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cells = (torch.stack([x, y], dim=2).reshape(-1, 1, 2) + 0.5) * stride
        centers.append(cells.expand(-1, len(anchors), 2).reshape(-1, 2))
        sides.append(scale * torch.tensor(anchors).repeat(height * width, 1))
        strides.append(torch.full((len(sides[-1]), 1), stride))
    return AnchorGrid(*(torch.cat(parts).to(like) for parts in (centers, sides, strides)))


def decoded(offsets: Tensor, grid: AnchorGrid) -> Tensor:
    """Boxes (..., N, 4) as x1, y1, x2, y2 in pixels, from raw outputs (..., N, 4)."""
    # From -1 to 1, 0 for the anchor itself.
    moves = 2 * offsets.sigmoid() - 1
    center = grid.centers + grid.strides * CENTER_RANGE * moves[..., :2]
    half = grid.sides * SIDE_RANGE ** moves[..., 2:] / 2
    return torch.cat([center - half, center + half], dim=-1)


def assigned(boxes: Tensor, grid: AnchorGrid) -> Tensor:
    """Index (N,) of the box (n, 4) that each anchor answers for, -1 where that is none.

    An anchor answers for the box that it overlaps most among those within its reach: the centre
    at most CENTER_REACH cells away, the sides at most SIDE_REACH times as long or short. So several
    anchors answer for a box. Each box also has the anchor that suits it best, even when it is
    beyond the reach of all.
    """
    if len(boxes) == 0:
        return torch.full((len(grid.sides),), -1, device=boxes.device)
    center_and_sides = box_convert(boxes, "xyxy", "cxcywh")[:, None]
    away = (center_and_sides[..., :2] - grid.centers).abs() / grid.strides
    ratio = center_and_sides[..., 2:] / grid.sides
    reached = (away <= CENTER_REACH).all(dim=2) & (
        torch.maximum(ratio, 1 / ratio) <= SIDE_REACH
    ).all(dim=2)
    anchors = box_convert(torch.cat([grid.centers, grid.sides], dim=1), "cxcywh", "xyxy")
    # Any anchor within reach is better than any that is not.
    quality = box_iou(boxes, anchors) + reached
    answers = quality.argmax(dim=0).where(reached.any(dim=0), -1)
    answers[quality.argmax(dim=1)] = torch.arange(len(boxes), device=boxes.device)
    return answers


def detection_loss(
    offsets: Tensor,
    objectness: Tensor,
    classes: Tensor,
    grid: AnchorGrid,
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """CIoU loss of the boxes, binary cross entropy of objectness and classes.

    Each is summed over the batch and divided by the number of anchors that answer for a box.

    Args:
        offsets: (B, N, 4) raw outputs.
        objectness: (B, N) logits.
        classes: (B, N, C) logits.
        grid: the N anchors.
        targets: one dict a picture, with `boxes` (n, 4) and `labels` (n,).
    """
    boxes = decoded(offsets, grid)
    total, positives = offsets.new_zeros(()), 0
    for i, target in enumerate(targets):
        truth = target["boxes"].to(boxes)
        answers = assigned(truth, grid)
        positive = answers >= 0
        chosen = answers[positive]
        found = (box_iou(boxes[i].detach(), truth) > IGNORED_IOU).any(dim=1)
        counted = positive | ~found
        wanted = functional.one_hot(target["labels"][chosen], classes.shape[2])
        total = total + (
            BOX_WEIGHT * complete_box_iou_loss(boxes[i][positive], truth[chosen], reduction="sum")
            + functional.binary_cross_entropy_with_logits(
                objectness[i][counted], positive[counted].to(objectness), reduction="sum"
            )
            + functional.binary_cross_entropy_with_logits(
                classes[i][positive], wanted.to(classes), reduction="sum"
            )
        )
        positives += len(chosen)
    return total / max(1, positives)
