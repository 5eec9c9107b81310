"""What PatchLine's patched models and the methods that it is compared with have in common.

An adapted model is a copy of a source model in which a part is trained. Its pass falls into a
*frozen part*, which depends on the picture alone and can be computed once for all epochs, and the
*trained part* behind it. A trainer that knows these two can train, cache and save every method.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from patchline_ros.vision.model import TaskModel

NormPolicy = Literal["source", "reestimated"]
"""Batch-norm statistics of the frozen backbone: the source's, or re-estimated ones."""
Part = Literal["adapter", "backbone", "head"]
"""Parts that are trained at rates of their own; the adapter is what a method adds."""


class AdaptedModel(nn.Module):
    """A copy of a source model, all of it frozen until a subclass says what is trained."""

    def __init__(self, source: TaskModel) -> None:
        super().__init__()
        self.spec = source.spec
        model = copy.deepcopy(source).eval().requires_grad_(False)
        self.backbone = model.backbone
        self.head = model.head

    def black_picture(self) -> Tensor:
        """(1, 3, H, W): what a subclass asks the source about its shapes with.

        A pass costs milliseconds. On the meta device it would cost nothing, but the first one there
        imports a compiler that this package does not use, for which a swap would wait seconds.
        """
        return next(self.backbone.parameters()).new_zeros(1, 3, *self.spec.input_size)

    @abstractmethod
    def frozen_part(self, images: Tensor) -> list[Tensor]:
        """What depends on the images (B, 3, H, W) alone, without a gradient; batch first."""

    @abstractmethod
    def trained_part(self, frozen: list[Tensor]) -> Any:
        """Raw outputs of the head from what `frozen_part` gave."""

    @abstractmethod
    def trained_modules(self) -> list[nn.Module]:
        """The modules that training runs in training mode; all others always evaluate."""

    def forward(self, images: Tensor) -> Any:
        """Raw outputs of the head for images (B, 3, H, W)."""
        return self.trained_part(self.frozen_part(images))

    def train(self, mode: bool = True) -> AdaptedModel:
        """Training mode for what is trained; a frozen norm or dropout always evaluates."""
        super().train(False)
        for module in self.trained_modules():
            module.train(mode)
        self.training = mode
        return self

    def trained_parameters(self) -> dict[Part, list[nn.Parameter]]:
        """What is trained, by part; no empty parts."""
        parts: dict[Part, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                first = name.split(".")[0]
                part: Part = "backbone" if first == "backbone" else "adapter"
                parts.setdefault("head" if first == "head" else part, []).append(parameter)
        return parts

    def adapted_state(self, norm: NormPolicy) -> dict[str, Tensor]:
        """Everything in which the adapted model can differ from its source; not copied."""
        names = {name for name, p in self.named_parameters() if p.requires_grad}
        trained = {id(m) for module in self.trained_modules() for m in module.modules()}
        for name, module in self.named_modules():
            moved = norm == "reestimated" and name.startswith("backbone.")
            if isinstance(module, _BatchNorm) and (moved or id(module) in trained):
                names |= set(_below(name, module.named_buffers()))
        return {name: value for name, value in self.state_dict().items() if name in names}


def _below(prefix: str, named: Iterator[tuple[str, Tensor]]) -> list[str]:
    return [f"{prefix}.{name}" for name, _ in named]
