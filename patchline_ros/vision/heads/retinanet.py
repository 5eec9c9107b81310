"""RetinaNet (Lin et al., 2017), torchvision's second version of it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.base import Pyramid
from patchline_ros.vision.heads.detection import (
    MOST_CANDIDATES,
    MOST_DETECTIONS,
    NMS_THRESHOLD,
    SCORE_THRESHOLD,
    DetectionHead,
    DetectionOutput,
    flattened,
    grid_anchors,
    require_strides,
)

CHANNELS = 256
TAP_STRIDES = (8, 16, 32)
STRIDES = (*TAP_STRIDES, 64, 128)
"""Strides of the pyramid's levels: those on taps, P6 and P7."""
ANCHOR_SIZES = tuple(tuple(int(4 * s * 2 ** (i / 3)) for i in range(3)) for s in STRIDES)
ASPECT_RATIOS = (0.5, 1.0, 2.0)


class RetinaNetOnPyramid(DetectionHead):
    """torchvision's RetinaNet on a pyramid of strides 8 to 128, group norm in its two branches."""

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        require_strides(backbone, TAP_STRIDES, "RetinaNet")
        self.input_size = input_size
        deepest = backbone.channels[backbone.last_tap_at(TAP_STRIDES[-1])]
        generator = AnchorGenerator(ANCHOR_SIZES, (ASPECT_RATIOS,) * len(ANCHOR_SIZES))
        self.retinanet = RetinaNet(
            Pyramid(backbone, TAP_STRIDES, CHANNELS, LastLevelP6P7(deepest, CHANNELS)),
            classes,
            anchor_generator=generator,
            head=RetinaNetHead(
                CHANNELS,
                generator.num_anchors_per_location()[0],
                classes,
                norm_layer=partial(nn.GroupNorm, 32),
            ),
            score_thresh=SCORE_THRESHOLD,
            nms_thresh=NMS_THRESHOLD,
            detections_per_img=MOST_DETECTIONS,
            topk_candidates=MOST_CANDIDATES,
        )

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """A map for the classes and one for the boxes, level by level."""
        head = self.retinanet.head
        levels = self.retinanet.backbone(taps)
        return [
            features
            for level in levels
            for features in (head.classification_head.conv(level), head.regression_head.conv(level))
        ]

    def tail(self, features: list[Tensor]) -> DetectionOutput:
        """Class logits and box offsets of every anchor."""
        scores, boxes = self.last_layers()
        return DetectionOutput(
            maps={
                "cls_logits": torch.cat(
                    [
                        flattened(
                            scores(level), self.retinanet.head.classification_head.num_classes
                        )
                        for level in features[::2]
                    ],
                    dim=1,
                ),
                "bbox_regression": torch.cat(
                    [flattened(boxes(level), 4) for level in features[1::2]], dim=1
                ),
            },
            levels=[(level.shape[2], level.shape[3]) for level in features[::2]],
        )

    def last_layers(self) -> list[nn.Module]:
        """The convolutions that give class logits and boxes."""
        head = self.retinanet.head
        return [head.classification_head.cls_logits, head.regression_head.bbox_reg]

    def anchors(self, raw: DetectionOutput) -> list[Tensor]:
        """Anchor boxes (H * W * 9, 4) of each level, in pixels of the input."""
        return grid_anchors(
            self.retinanet.anchor_generator, raw.levels, STRIDES, raw.maps["cls_logits"]
        )

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """Focal loss of the classes, L1 loss of the box offsets."""
        anchors = torch.cat(self.anchors(raw))
        parts = self.retinanet.compute_loss(targets, raw.maps, [anchors] * len(targets))
        return torch.stack(list(parts.values())).sum()

    def found(self, raw: DetectionOutput) -> list[dict[str, Tensor]]:
        """RetinaNet's own selection."""
        anchors = self.anchors(raw)
        per_level = {
            name: list(values.split([len(level) for level in anchors], dim=1))
            for name, values in raw.maps.items()
        }
        batch = len(raw.maps["cls_logits"])
        found: list[dict[str, Tensor]] = self.retinanet.postprocess_detections(
            per_level, [anchors] * batch, [self.input_size] * batch
        )
        return found
