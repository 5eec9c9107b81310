"""Fine-tuning, which PatchLine is compared with: of everything, of norms, of the last layers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from patchline_ros.config_files import StrictModel
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.vision.model import TaskModel

FineTuning = Literal["ft_full", "ft_norm", "ft_affine", "ft_last"]
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


class FineTuneSettings(StrictModel):
    """What is fine-tuned.

    `ft_full`: every parameter. `ft_last`: the head's last layers. `ft_affine`: scale and shift of
    every norm in backbone and head (VGG16's backbone has none). `ft_norm`: both of these.
    """

    method: FineTuning


def _has_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


class FineTunedModel(AdaptedModel):
    """A copy of a source model, some of whose own parameters are trained.

    What lies before the first of them is the frozen part: the pictures themselves, the taps, or
    what the head's last layers read.
    """

    def __init__(self, source: TaskModel, settings: FineTuneSettings) -> None:
        super().__init__(source)
        self.settings = settings
        for module in self.trained_modules():
            module.requires_grad_(True)
        self._trains_backbone = _has_trained(self.backbone)
        last = {id(p) for layer in self.head.last_layers() for p in layer.parameters()}
        self._trains_body = any(
            p.requires_grad and id(p) not in last for p in self.head.parameters()
        )

    def trained_modules(self) -> list[nn.Module]:
        """The modules whose parameters are all trained."""
        if self.settings.method == "ft_full":
            return [self.backbone, self.head]
        last = self.head.last_layers()
        if self.settings.method == "ft_last":
            return last
        norms: list[nn.Module] = [module for module in self.modules() if isinstance(module, _NORMS)]
        return norms if self.settings.method == "ft_affine" else [*norms, *last]

    def frozen_part(self, images: Tensor) -> list[Tensor]:
        """The pass up to the first trained parameter, in steps of backbone, body and tail."""
        if self._trains_backbone:
            return [images]
        with torch.no_grad():
            taps: list[Tensor] = self.backbone(images)
            return taps if self._trains_body else self.head.body(taps)

    def trained_part(self, frozen: list[Tensor]) -> Any:
        """Raw outputs of the head."""
        if self._trains_backbone:
            return self.head(self.backbone(frozen[0]))
        return self.head(frozen) if self._trains_body else self.head.tail(frozen)
