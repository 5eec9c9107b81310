"""What turns a backbone's taps into results: a classifier, a detector, a segmenter.

Each head has `forward` (taps to raw outputs), `loss`, `decode` (raw outputs to plain NumPy
results in pixels of the model's input) and `entropy` (how unsure, one number an image).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork

from patchline_ros.tasks import IGNORE, Boxes, ClassMap, Label
from patchline_ros.vision.backbone import CutBackbone, GroupedBackbone

PYRAMID_CHANNELS = 64


class Head(nn.Module):
    """What every head offers."""

    @abstractmethod
    def forward(self, taps: list[Tensor]) -> Any:
        """Raw outputs from the taps [stem, group 1, ..., group G]."""

    @abstractmethod
    def loss(self, raw: Any, targets: Any) -> Tensor:
        """Scalar training loss."""

    @abstractmethod
    def decode(self, raw: Any) -> list[Label]:
        """One plain result an image, in pixels of the model's input."""

    @abstractmethod
    def entropy(self, raw: Any) -> Tensor:
        """(B,) mean entropy of each image's outputs in nats (paper, section 4.3)."""

    @abstractmethod
    def confidence(self, raw: Any) -> Tensor:
        """(B,) probability of each image's result, in 0..1."""


def softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats along dimension 1."""
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def sigmoid_entropy(logits: Tensor) -> Tensor:
    """Binary entropy in nats of each independent logit."""
    return -(
        logits.sigmoid() * functional.logsigmoid(logits)
        + (-logits).sigmoid() * functional.logsigmoid(-logits)
    )


class ClassificationHead(Head):
    """The library's last convolution, global average pooling and a linear layer.

    Raw output: logits (B, C). Targets: class ids (B,).
    """

    def __init__(self, cut: CutBackbone, classes: int) -> None:
        super().__init__()
        self.neck = cut.classifier_neck
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(cut.classifier_channels, classes)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Logits (B, C)."""
        pooled = self.neck(taps[-1]).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(raw, targets)

    def decode(self, raw: Tensor) -> list[Label]:
        """The likeliest class of each image."""
        return [int(label) for label in raw.argmax(dim=1)]

    def entropy(self, raw: Tensor) -> Tensor:
        """(B,) softmax entropy."""
        return softmax_entropy(raw)

    def confidence(self, raw: Tensor) -> Tensor:
        """(B,) probability of the likeliest class."""
        return raw.softmax(dim=1).amax(dim=1)


class Pyramid(nn.Module):
    """A feature pyramid on the deepest tap of each of the given total strides."""

    out_channels = PYRAMID_CHANNELS

    def __init__(self, backbone: GroupedBackbone, reductions: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = tuple(backbone.last_tap_at(reduction) for reduction in reductions)
        self.fpn = FeaturePyramidNetwork(
            [backbone.channels[level] for level in self.levels], PYRAMID_CHANNELS
        )

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """One map of `out_channels` channels a level, the finest first."""
        levels = {str(level): taps[level] for level in self.levels}
        return list(self.fpn(levels).values())


class SegmentationHead(Head):
    """Sum of the pyramid's levels at stride 4 and a 1x1 classifier (Panoptic FPN's merge).

    Raw output: logits (B, C, H, W) at the input's size. Targets: class maps (B, H, W), IGNORE
    where nothing is known.
    """

    def __init__(self, cut: CutBackbone, classes: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(cut.backbone, (4, 8, 16, 32))
        self.norm = nn.GroupNorm(8, PYRAMID_CHANNELS)
        self.classifier = nn.Conv2d(PYRAMID_CHANNELS, classes, 1)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Logits (B, C, H, W) at twice the stem's size, the input's."""
        levels = self.pyramid(taps)
        size = levels[0].shape[-2:]
        merged = levels[0]
        for level in levels[1:]:
            merged = merged + functional.interpolate(
                level, size, mode="bilinear", align_corners=False
            )
        logits = self.classifier(functional.relu(self.norm(merged)))
        height, width = taps[0].shape[-2:]
        return functional.interpolate(
            logits, (2 * height, 2 * width), mode="bilinear", align_corners=False
        )

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy over the labelled pixels."""
        return functional.cross_entropy(raw, targets, ignore_index=IGNORE)

    def decode(self, raw: Tensor) -> list[Label]:
        """The likeliest class of each pixel, uint8 (H, W)."""
        maps: list[ClassMap] = list(raw.argmax(dim=1).to(torch.uint8).cpu().numpy())
        return list(maps)

    def entropy(self, raw: Tensor) -> Tensor:
        """(B,) softmax entropy, mean over the pixels."""
        return softmax_entropy(raw).mean(dim=(1, 2))

    def confidence(self, raw: Tensor) -> Tensor:
        """(B,) probability of the likeliest class, mean over the pixels."""
        return raw.softmax(dim=1).amax(dim=1).mean(dim=(1, 2))


class DetectionOutput(NamedTuple):
    """Raw outputs of the detector: FCOS's maps, flattened, and where they lie."""

    maps: dict[str, Tensor]
    locations: list[int]
    anchors: list[Tensor]


class DetectionHead(Head):
    """torchvision's FCOS on a feature pyramid of strides 8, 16 and 32.

    Raw output: `DetectionOutput`. Targets: one dict a picture with `boxes` (n, 4) in pixels of
    the input and `labels` (n,).
    """

    def __init__(self, cut: CutBackbone, classes: int, input_size: tuple[int, int]) -> None:
        super().__init__()
        strides = (8, 16, 32)
        self.input_size = input_size
        self.fcos = FCOS(
            Pyramid(cut.backbone, strides),
            classes,
            anchor_generator=AnchorGenerator(tuple((s,) for s in strides), ((1.0,),) * 3),
            head=FCOSHead(PYRAMID_CHANNELS, 1, classes, num_convs=2),
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=50,
            topk_candidates=200,
        )

    def forward(self, taps: list[Tensor]) -> DetectionOutput:
        """FCOS's class logits, box distances and centerness of every location."""
        levels = self.fcos.backbone(taps)
        batch = taps[0].shape[0]
        height, width = self.input_size
        images = ImageList(taps[0].new_empty((batch, 3, height, width)), [self.input_size] * batch)
        return DetectionOutput(
            maps=self.fcos.head(levels),
            locations=[level.shape[2] * level.shape[3] for level in levels],
            anchors=self.fcos.anchor_generator(images, levels),
        )

    def loss(self, raw: DetectionOutput, targets: list[dict[str, Tensor]]) -> Tensor:
        """Focal loss of the classes, GIoU loss of the boxes, cross entropy of the centerness."""
        parts = self.fcos.compute_loss(targets, raw.maps, raw.anchors, raw.locations)
        return torch.stack(list(parts.values())).sum()

    def decode(self, raw: DetectionOutput) -> list[Label]:
        """Boxes after non-maximum suppression, by falling score."""
        per_level = {name: list(m.split(raw.locations, dim=1)) for name, m in raw.maps.items()}
        anchors = [list(anchor.split(raw.locations)) for anchor in raw.anchors]
        sizes = [self.input_size] * len(anchors)
        return [
            Boxes(
                boxes=found["boxes"].cpu().numpy().astype(np.float32),
                labels=found["labels"].cpu().numpy().astype(np.int64),
                scores=found["scores"].cpu().numpy().astype(np.float32),
            )
            for found in self.fcos.postprocess_detections(per_level, anchors, sizes)
        ]

    def entropy(self, raw: DetectionOutput) -> Tensor:
        """(B,) binary entropy of the class scores, mean over locations and classes."""
        return sigmoid_entropy(raw.maps["cls_logits"]).mean(dim=(1, 2))

    def confidence(self, raw: DetectionOutput) -> Tensor:
        """(B,) highest class probability of any location."""
        return raw.maps["cls_logits"].sigmoid().amax(dim=(1, 2))
