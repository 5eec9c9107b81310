"""The classifier."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from patchline_ros.tasks import Label
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.torchvision_backbones import CutBackbone


class ClassificationHead(Head):
    """The library's layers behind the deepest tap, global average pooling and a linear layer.

    Raw output: logits (B, C). Targets: class ids (B,).
    """

    def __init__(self, cut: CutBackbone, classes: int) -> None:
        super().__init__()
        self.neck = cut.classifier_neck()
        self.dropout = nn.Dropout(cut.classifier_dropout)
        self.classifier = nn.Linear(cut.classifier_channels, classes)

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """One vector an image."""
        return [self.neck(taps[-1]).mean(dim=(2, 3))]

    def tail(self, features: list[Tensor]) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.classifier(self.dropout(features[0]))
        return logits

    def last_layers(self) -> list[nn.Module]:
        """The linear layer."""
        return [self.classifier]

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(raw, targets)

    def decode(self, raw: Tensor) -> list[Label]:
        """The likeliest class of each image."""
        return [int(label) for label in raw.argmax(dim=1)]

    def class_logits(self, raw: Tensor) -> Tensor:
        """(B, C, 1): an image has one output."""
        return raw[:, :, None]

    def confidence(self, raw: Tensor) -> Tensor:
        """(B,) probability of the likeliest class."""
        return raw.softmax(dim=1).amax(dim=1)
