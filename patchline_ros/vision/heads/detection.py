"""What detectors share, and the light one: FCOS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead

from patchline_ros.tasks import Boxes, Label
from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.base import Head, Pyramid

SCORE_THRESHOLD = 0.05
NMS_THRESHOLD = 0.5
MOST_DETECTIONS = 50
MOST_CANDIDATES = 200
"""Before non-maximum suppression: of each level, SSD's of each class."""
SELECTION: dict[str, Any] = {
    "score_thresh": SCORE_THRESHOLD,
    "nms_thresh": NMS_THRESHOLD,
    "detections_per_img": MOST_DETECTIONS,
    "topk_candidates": MOST_CANDIDATES,
}
"""The same, as torchvision's detectors take it."""


class DetectionOutput(NamedTuple):
    """Raw outputs of a detector: its maps, flattened to (B, anchors, ...), and its levels'
    sizes."""

    maps: dict[str, Tensor]
    levels: list[tuple[int, int]]


def flattened(level: Tensor, values: int) -> Tensor:
    """(B, A * values, H, W) to (B, H * W * A, values), the order of torchvision's anchors."""
    batch, _, height, width = level.shape
    split = level.view(batch, -1, values, height, width).permute(0, 3, 4, 1, 2)
    return split.reshape(batch, -1, values)


def grid_anchors(
    generator: AnchorGenerator,
    levels: Sequence[tuple[int, int]],
    strides: Sequence[int],
    like: Tensor,
) -> list[Tensor]:
    """Anchor boxes (H * W * A, 4) of each level.

    The generator's own call divides the picture's size by the map's, which is wrong for pictures
    that are no multiple of the stride.
    """
    generator.set_cell_anchors(like.dtype, like.device)
    steps = [[torch.tensor(stride, device=like.device)] * 2 for stride in strides]
    anchors: list[Tensor] = generator.grid_anchors([list(level) for level in levels], steps)
    return anchors


def require_strides(backbone: GroupedBackbone, strides: Sequence[int], detector: str) -> None:
    """Checks that a backbone has a tap at each of the total strides that a detector reads.

    Raises:
        ValueError: it lacks one.
    """
    missing = [str(stride) for stride in strides if stride not in backbone.reductions]
    if missing:
        raise ValueError(
            f"{detector} reads taps at the strides {', '.join(map(str, strides))}, and this "
            f"backbone has none at {' and '.join(missing)}; take another backbone, or ssd or fcos"
        )


class DetectionHead(Head):
    """A detector.

    Raw output: `DetectionOutput` with class logits (B, anchors, C) under `cls_logits`, which are
    independent of each other if the detector does not say otherwise. Targets: one dict a picture
    with `boxes` (n, 4) in pixels of the input and `labels` (n,), from 0 to C - 1.
    """

    exclusive = False
    input_size: tuple[int, int]

    @abstractmethod
    def found(self, raw: DetectionOutput) -> list[dict[str, Tensor]]:
        """`boxes`, `labels` and `scores` of each picture after non-maximum suppression."""

    def decode(self, raw: DetectionOutput) -> list[Label]:
        """Boxes after non-maximum suppression, by falling score."""
        return [
            Boxes(
                boxes=found["boxes"].cpu().numpy().astype(np.float32),
                labels=found["labels"].cpu().numpy().astype(np.int64),
                scores=found["scores"].cpu().numpy().astype(np.float32),
            )
            for found in self.found(raw)
        ]

    def score_logits(self, raw: DetectionOutput) -> Tensor:
        """(B, anchors, C) logits of the class scores."""
        return raw.maps["cls_logits"]

    def class_logits(self, raw: DetectionOutput) -> Tensor:
        """(B, C, anchors)."""
        return self.score_logits(raw).transpose(1, 2)

    def confidence(self, raw: DetectionOutput) -> Tensor:
        """(B,) highest class score of any anchor."""
        return self.score_logits(raw).sigmoid().amax(dim=(1, 2))


class PyramidDetectionHead(DetectionHead):
    """A detector of torchvision's with a branch for the classes and one for the boxes."""

    strides: tuple[int, ...]
    """Total strides of the pyramid's levels."""

    @property
    @abstractmethod
    def detector(self) -> Any:
        """torchvision's module, whose backbone is the pyramid."""

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """A map for the classes and one for the boxes, level by level."""
        head = self.detector.head
        levels = self.detector.backbone(taps)
        return [
            features
            for level in levels
            for features in (head.classification_head.conv(level), head.regression_head.conv(level))
        ]

    def anchors(self, raw: DetectionOutput) -> list[Tensor]:
        """Anchor boxes (n, 4) of each level, in pixels of the input."""
        return grid_anchors(
            self.detector.anchor_generator, raw.levels, self.strides, raw.maps["cls_logits"]
        )

    def found(self, raw: DetectionOutput) -> list[dict[str, Tensor]]:
        """The detector's own selection."""
        anchors = self.anchors(raw)
        counts = [len(level) for level in anchors]
        per_level = {name: list(m.split(counts, dim=1)) for name, m in raw.maps.items()}
        batch = len(raw.maps["cls_logits"])
        found: list[dict[str, Tensor]] = self.detector.postprocess_detections(
            per_level, [anchors] * batch, [self.input_size] * batch
        )
        return found


class FCOSHeadOnPyramid(PyramidDetectionHead):
    """torchvision's FCOS on a feature pyramid of strides 8, 16 and 32; the light detector."""

    takes_crops = True

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        channels = 64
        self.strides = tuple(sorted({r for r in backbone.reductions if r >= 8}))
        self.input_size = input_size
        self.fcos = FCOS(
            Pyramid(backbone, self.strides, channels),
            classes,
            anchor_generator=AnchorGenerator(
                tuple((s,) for s in self.strides), ((1.0,),) * len(self.strides)
            ),
            head=FCOSHead(channels, 1, classes, num_convs=2),
            **SELECTION,
        )

    @property
    def detector(self) -> FCOS:
        """torchvision's FCOS."""
        return self.fcos

    def tail(self, features: list[Tensor]) -> DetectionOutput:
        """FCOS's class logits, box distances and centerness of every location."""
        head = self.fcos.head
        scores, boxes, centers = [], [], []
        for of_classes, of_boxes in zip(features[::2], features[1::2], strict=True):
            logits = head.classification_head.cls_logits(of_classes)
            scores.append(flattened(logits, head.classification_head.num_classes))
            boxes.append(flattened(functional.relu(head.regression_head.bbox_reg(of_boxes)), 4))
            centers.append(flattened(head.regression_head.bbox_ctrness(of_boxes), 1))
        return DetectionOutput(
            maps={
                "cls_logits": torch.cat(scores, dim=1),
                "bbox_regression": torch.cat(boxes, dim=1),
                "bbox_ctrness": torch.cat(centers, dim=1),
            },
            levels=[(level.shape[2], level.shape[3]) for level in features[::2]],
        )

    def last_layers(self) -> list[nn.Module]:
        """The convolutions that give class logits, boxes and centerness."""
        head = self.fcos.head
        return [
            head.classification_head.cls_logits,
            head.regression_head.bbox_reg,
            head.regression_head.bbox_ctrness,
        ]

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """Focal loss of the classes, GIoU loss of the boxes, cross entropy of the centerness."""
        anchors = torch.cat(self.anchors(raw))
        locations = [height * width for height, width in raw.levels]
        parts = self.fcos.compute_loss(targets, raw.maps, [anchors] * len(targets), locations)
        return torch.stack(list(parts.values())).sum()
