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
    SELECTION,
    DetectionOutput,
    PyramidDetectionHead,
    flattened,
    require_strides,
)

CHANNELS = 256
TAP_STRIDES = (8, 16, 32)
STRIDES = (*TAP_STRIDES, 64, 128)
"""Strides of the pyramid's levels: those on taps, P6 and P7."""
ANCHOR_SIZES = tuple(tuple(int(4 * s * 2 ** (i / 3)) for i in range(3)) for s in STRIDES)
ASPECT_RATIOS = (0.5, 1.0, 2.0)


class RetinaNetOnPyramid(PyramidDetectionHead):
    """torchvision's RetinaNet on a pyramid of strides 8 to 128, group norm in its two branches."""

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        require_strides(backbone, TAP_STRIDES, "RetinaNet")
        self.input_size = input_size
        self.strides = STRIDES
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
            **SELECTION,
        )

    @property
    def detector(self) -> RetinaNet:
        """torchvision's RetinaNet."""
        return self.retinanet

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

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """Focal loss of the classes, L1 loss of the box offsets."""
        anchors = torch.cat(self.anchors(raw))
        parts = self.retinanet.compute_loss(targets, raw.maps, [anchors] * len(targets))
        return torch.stack(list(parts.values())).sum()
