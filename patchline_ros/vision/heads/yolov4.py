"""YOLOv4 (Bochkovskiy et al., 2020) on three taps, made light for small backbones.

The neck is the paper's: spatial pyramid pooling and a path aggregation network of batch-normalised
convolutions. The 3x3 convolutions in its blocks and in front of the outputs are depthwise
separable, as is usual on MobileNets; those that halve a map are dense.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import Conv2dNormActivation, batched_nms, clip_boxes_to_image

from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.detection import (
    MOST_CANDIDATES,
    MOST_DETECTIONS,
    NMS_THRESHOLD,
    SCORE_THRESHOLD,
    DetectionHead,
    DetectionOutput,
    flattened,
    require_strides,
)
from patchline_ros.vision.heads.yolov4_boxes import (
    ANCHORS,
    STRIDES,
    AnchorGrid,
    anchor_grid,
    decoded,
    detection_loss,
)

WIDTHS = (128, 256, 512)
"""Channels of the neck's maps, the finest first."""
POOLS = (5, 9, 13)
"""Windows of the spatial pyramid pooling."""
PRIOR = 0.01
"""Probability of an object that training starts from."""

_convolution = partial(Conv2dNormActivation, activation_layer=partial(nn.LeakyReLU, 0.1))


def _separable(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(in_channels, in_channels, 3, groups=in_channels),
        _convolution(in_channels, out_channels, 1),
    )


def _block(in_channels: int, channels: int, layers: int) -> nn.Sequential:
    """1x1 to `channels` and 3x3 to twice as many, in turn; `layers` is odd."""
    convolutions = [_convolution(in_channels, channels, 1)]
    for _ in range(layers // 2):
        convolutions += [
            _separable(channels, 2 * channels),
            _convolution(2 * channels, channels, 1),
        ]
    return nn.Sequential(*convolutions)


class SpatialPyramidPooling(nn.Module):
    """A map beside its maxima over windows of several sizes."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 C, H, W)."""
        pooled = [functional.max_pool2d(x, side, stride=1, padding=side // 2) for side in POOLS]
        return torch.cat([*reversed(pooled), x], dim=1)


class PathAggregation(nn.Module):
    """YOLOv4's neck: from coarse to fine and back again, over the taps at stride 8, 16 and 32."""

    def __init__(self, backbone: GroupedBackbone) -> None:
        super().__init__()
        self.taps = tuple(backbone.last_tap_at(stride) for stride in STRIDES)
        fine, middle, coarse = (backbone.channels[tap] for tap in self.taps)
        small, medium, large = WIDTHS
        self.pooling = nn.Sequential(
            _block(coarse, large, 3), SpatialPyramidPooling(), _block(4 * large, large, 3)
        )
        self.reduce = nn.ModuleList(
            [_convolution(large, medium, 1), _convolution(medium, small, 1)]
        )
        self.lateral = nn.ModuleList(
            [_convolution(middle, medium, 1), _convolution(fine, small, 1)]
        )
        self.up = nn.ModuleList([_block(2 * medium, medium, 5), _block(2 * small, small, 5)])
        self.halve = nn.ModuleList(
            [_convolution(small, medium, 3, stride=2), _convolution(medium, large, 3, stride=2)]
        )
        self.down = nn.ModuleList([_block(2 * medium, medium, 5), _block(2 * large, large, 5)])

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """Maps of 128, 256 and 512 channels at stride 8, 16 and 32."""
        fine, middle, coarse = (taps[tap] for tap in self.taps)
        rising = [self.pooling(coarse)]
        for tap, reduce, lateral, block in zip(
            (middle, fine), self.reduce, self.lateral, self.up, strict=True
        ):
            above = functional.interpolate(reduce(rising[-1]), tap.shape[-2:], mode="nearest")
            rising.append(block(torch.cat([lateral(tap), above], dim=1)))
        large, medium, small = rising
        falling = [small]
        for below, halve, block in zip((medium, large), self.halve, self.down, strict=True):
            falling.append(block(torch.cat([halve(falling[-1]), below], dim=1)))
        return falling


class YOLOv4OnTaps(DetectionHead):
    """Three anchors in each cell of three maps; a box's score is objectness times class.

    Raw output: beside class logits, `objectness` (B, anchors) and `bbox_regression` (B, anchors,
    4), from which `decoded` makes boxes.
    """

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        require_strides(backbone, STRIDES, "YOLOv4")
        self.input_size = input_size
        self.classes = classes
        self.neck = PathAggregation(backbone)
        self.branches = nn.ModuleList([_separable(width, 2 * width) for width in WIDTHS])
        self.outputs = nn.ModuleList(
            [
                nn.Conv2d(2 * width, len(anchors) * (5 + classes), 1)
                for width, anchors in zip(WIDTHS, ANCHORS, strict=True)
            ]
        )
        for output, anchors in zip(self.outputs, ANCHORS, strict=True):
            bias = torch.zeros(len(anchors), 5 + classes)
            bias[:, 4] = -math.log((1 - PRIOR) / PRIOR)
            output.bias = nn.Parameter(bias.flatten())

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """One map a level."""
        return [branch(level) for branch, level in zip(self.branches, self.neck(taps), strict=True)]

    def tail(self, features: list[Tensor]) -> DetectionOutput:
        """Box offsets, objectness and class logits of every anchor."""
        values = torch.cat(
            [
                flattened(output(level), 5 + self.classes)
                for output, level in zip(self.outputs, features, strict=True)
            ],
            dim=1,
        )
        offsets, objectness, classes = values.split([4, 1, self.classes], dim=2)
        return DetectionOutput(
            maps={
                "cls_logits": classes,
                "objectness": objectness.squeeze(2),
                "bbox_regression": offsets,
            },
            levels=[(level.shape[2], level.shape[3]) for level in features],
        )

    def last_layers(self) -> list[nn.Module]:
        """The 1x1 convolution of each level."""
        return list(self.outputs)

    def grid(self, raw: DetectionOutput) -> AnchorGrid:
        """The anchors of the maps."""
        return anchor_grid(raw.levels, self.input_size, raw.maps["bbox_regression"])

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """See `detection_loss`."""
        return detection_loss(
            raw.maps["bbox_regression"],
            raw.maps["objectness"],
            raw.maps["cls_logits"],
            self.grid(raw),
            targets,
        )

    def score_logits(self, raw: DetectionOutput) -> Tensor:
        """(B, anchors, C) logits of objectness times class probability."""
        sure = functional.logsigmoid(raw.maps["objectness"])[:, :, None]
        unsure = functional.logsigmoid(-raw.maps["objectness"])[:, :, None]
        classes = raw.maps["cls_logits"]
        there = sure + functional.logsigmoid(classes)
        not_there = torch.logaddexp(unsure, sure + functional.logsigmoid(-classes))
        return there - not_there

    def found(self, raw: DetectionOutput) -> list[dict[str, Tensor]]:
        """The best boxes of each level, together after non-maximum suppression class by class."""
        boxes = clip_boxes_to_image(
            decoded(raw.maps["bbox_regression"], self.grid(raw)), self.input_size
        )
        scores = self.score_logits(raw).sigmoid()
        sizes = [
            height * width * len(anchors)
            for (height, width), anchors in zip(raw.levels, ANCHORS, strict=True)
        ]
        return [
            _selected([*zip(b.split(sizes), s.split(sizes), strict=True)])
            for b, s in zip(boxes, scores, strict=True)
        ]


def _selected(levels: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """`boxes`, `labels` and `scores` to keep of one picture's boxes (n, 4) and scores (n, C)."""
    boxes, labels, scores = [], [], []
    for level_boxes, level_scores in levels:
        best, index = level_scores.flatten().topk(min(MOST_CANDIDATES, level_scores.numel()))
        index = index[best > SCORE_THRESHOLD]
        classes = level_scores.shape[1]
        boxes.append(level_boxes[index // classes])
        labels.append(index % classes)
        scores.append(level_scores.flatten()[index])
    found = {"boxes": torch.cat(boxes), "labels": torch.cat(labels), "scores": torch.cat(scores)}
    kept = batched_nms(found["boxes"], found["scores"], found["labels"], NMS_THRESHOLD)
    return {name: values[kept[:MOST_DETECTIONS]] for name, values in found.items()}
