"""One pass over a picture: what a head says, and what the drift monitor compares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.heads.base import nested_like, tensors_in
from patchline_ros.vision.model import TaskModel


class ModelPass(nn.Module):
    """The source model, or an adapted one beside the source's backbone.

    The features are always of the source, so that a swap does not look like a change of scene.
    """

    def __init__(self, source: TaskModel, adapted: AdaptedModel | None, drift_tap: int) -> None:
        """Copies nothing: the weights stay those of the models."""
        super().__init__()
        self.model: TaskModel | AdaptedModel = adapted or source
        self._watched = source.backbone if adapted else None
        self._drift_tap = drift_tap

    def forward(self, images: Tensor) -> tuple[Any, Tensor]:
        """Raw outputs of the head for images (B, 3, H, W), and features (B, 2 C) of the tap."""
        if self._watched is not None:
            return self.model(images), pooled(self._watched.tap(images, self._drift_tap))
        taps = self.model.backbone(images)
        return self.model.head(taps), pooled(taps[self._drift_tap])

    def in_half_precision(self, images: Tensor) -> tuple[Any, Tensor]:
        """The same, with the outputs computed in 16 bits and given in 32.

        The features are computed in 32 bits, by a pass of their own up to their tap. So they are to
        the bit what they are without half precision, and before and after a swap.
        """
        with torch.autocast(images.device.type, dtype=torch.float16):
            raw = self.model(images)
        source = self._watched if self._watched is not None else self.model.backbone
        outputs = (output.float() for output in tensors_in(raw))
        return nested_like(raw, outputs), pooled(source.tap(images, self._drift_tap))
