"""SSD (Liu et al., 2016): torchvision's, with the extra layers of SSD300 on two taps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.ops import box_iou

from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.detection import (
    SELECTION,
    DetectionHead,
    DetectionOutput,
    require_strides,
)

TAP_STRIDES = (8, 16)
TAP_SCALE = 20.0
"""What the length of a pixel's features at stride 8 starts with, once it has been made 1."""
FC_CHANNELS = 1024
ASPECT_RATIOS = ([2], [2, 3], [2, 3], [2, 3], [2], [2])
FINEST_SCALE = 0.07
SCALES = (0.15, 1.05)
"""Sizes of the default boxes at stride 16 and behind the last level, as shares of the picture."""


class ExtraLevel(NamedTuple):
    """A 1x1 and a 3x3 convolution of SSD300, which make one level of the one before.

    The 3x3 one either halves the map, padded, or takes a cell off each of its borders.
    """

    hidden: int
    channels: int
    halves: bool


EXTRA_LEVELS = (
    ExtraLevel(256, 512, halves=True),
    ExtraLevel(128, 256, halves=True),
    ExtraLevel(128, 256, halves=False),
    ExtraLevel(128, 256, halves=False),
)


def levels_with_room(input_size: tuple[int, int]) -> tuple[ExtraLevel, ...]:
    """The extra levels whose map has at least one cell more to read than it has to give."""
    side = min(input_size) // TAP_STRIDES[-1]
    kept: list[ExtraLevel] = []
    for level in EXTRA_LEVELS:
        if side < (2 if level.halves else 3):
            break
        kept.append(level)
        side = (side + 1) // 2 if level.halves else side - 2
    return tuple(kept)


def _start(layers: nn.Sequential) -> nn.Sequential:
    """SSD's start: Xavier weights, biases of zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return layers


class SSDLevels(nn.Module):
    """The maps that SSD reads, from the taps at stride 8 (rescaled) and 16 (then fc6, fc7, ...)."""

    def __init__(self, backbone: GroupedBackbone, extra: tuple[ExtraLevel, ...]) -> None:
        super().__init__()
        self.taps = tuple(backbone.last_tap_at(stride) for stride in TAP_STRIDES)
        fine, deep = (backbone.channels[tap] for tap in self.taps)
        self.scale = nn.Parameter(torch.full((fine,), TAP_SCALE))
        fully_connected = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(deep, FC_CHANNELS, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(FC_CHANNELS, FC_CHANNELS, 1),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.ModuleList([_start(fully_connected)])
        self.channels = [fine, FC_CHANNELS]
        for level in extra:
            block = nn.Sequential(
                nn.Conv2d(self.channels[-1], level.hidden, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(level.hidden, level.channels, 3, stride=2, padding=1)
                if level.halves
                else nn.Conv2d(level.hidden, level.channels, 3),
                nn.ReLU(inplace=True),
            )
            self.blocks.append(_start(block))
            self.channels.append(level.channels)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """One map a level, the finest first."""
        fine, deep = (taps[tap] for tap in self.taps)
        levels = [self.scale.view(1, -1, 1, 1) * functional.normalize(fine)]
        for block in self.blocks:
            deep = block(deep)
            levels.append(deep)
        return levels


class SSDOnTaps(DetectionHead):
    """torchvision's SSD on the deepest taps of the strides 8 and 16.

    Class logits are those of a softmax; the background's come first, so that they are
    (B, boxes, 1 + C). SSD learns nothing from a picture without a box: it takes three boxes of
    background for each that is matched.
    """

    exclusive = True

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        require_strides(backbone, TAP_STRIDES, "SSD")
        self.input_size = input_size
        extra = levels_with_room(input_size)
        levels = SSDLevels(backbone, extra)
        strides, self.offsets = list(TAP_STRIDES), [0, 0]
        for level in extra:
            # A map without padding begins one cell later.
            self.offsets.append(self.offsets[-1] + (0 if level.halves else strides[-1]))
            strides.append(strides[-1] * (2 if level.halves else 1))
        generator = DefaultBoxGenerator(
            list(ASPECT_RATIOS[: len(strides)]),
            scales=[FINEST_SCALE, *np.linspace(*SCALES, len(strides)).tolist()],
            steps=strides,
        )
        self.ssd = SSD(
            levels,
            generator,
            input_size,
            1 + classes,
            head=SSDHead(levels.channels, generator.num_anchors_per_location(), 1 + classes),
            **SELECTION,
        )

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """The maps of all levels."""
        levels: list[Tensor] = self.ssd.backbone(taps)
        return levels

    def tail(self, features: list[Tensor]) -> DetectionOutput:
        """Class logits and box offsets of every default box."""
        return DetectionOutput(
            maps=self.ssd.head(features),
            levels=[(level.shape[2], level.shape[3]) for level in features],
        )

    def last_layers(self) -> list[nn.Module]:
        """The convolutions that give class logits and boxes, two a level."""
        head = self.ssd.head
        return [*head.classification_head.module_list, *head.regression_head.module_list]

    def default_boxes(self, raw: DetectionOutput) -> Tensor:
        """All default boxes (n, 4) in pixels of the input, level by level."""
        generator = self.ssd.anchor_generator
        # Only shapes are read of these, so they need no memory.
        picture, *maps = (
            raw.maps["cls_logits"].new_empty(()).expand(1, 1, *size)
            for size in (self.input_size, *raw.levels)
        )
        (boxes,) = generator(ImageList(picture, [self.input_size]), maps)
        counts = [
            height * width * each
            for (height, width), each in zip(
                raw.levels, generator.num_anchors_per_location(), strict=True
            )
        ]
        offsets = torch.tensor(self.offsets).repeat_interleave(torch.tensor(counts))
        return boxes + offsets.to(boxes)[:, None]

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """Cross entropy of matched boxes and hard negatives, smooth L1 loss of the offsets."""
        boxes = self.default_boxes(raw)
        shifted = [{**target, "labels": target["labels"] + 1} for target in targets]
        matched = [
            self.ssd.proposal_matcher(box_iou(target["boxes"], boxes))
            if len(target["boxes"])
            else torch.full((len(boxes),), -1, device=boxes.device)
            for target in targets
        ]
        parts = self.ssd.compute_loss(shifted, raw.maps, [boxes] * len(targets), matched)
        return torch.stack(list(parts.values())).sum()

    def found(self, raw: DetectionOutput) -> list[dict[str, Tensor]]:
        """SSD's own selection."""
        batch = len(raw.maps["cls_logits"])
        found: list[dict[str, Tensor]] = self.ssd.postprocess_detections(
            raw.maps, [self.default_boxes(raw)] * batch, [self.input_size] * batch
        )
        return [{**each, "labels": each["labels"] - 1} for each in found]

    def confidence(self, raw: DetectionOutput) -> Tensor:
        """(B,) highest probability of any class but the background, of any default box."""
        return raw.maps["cls_logits"].softmax(dim=2)[:, :, 1:].amax(dim=(1, 2))
