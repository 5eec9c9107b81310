"""A source model with patches beside its first k groups, wired *side*.

The frozen path is left as it is. The patches are chained beside it, and each tap is the sum:

    tap[0] = frozen[0]
    tap[i] = frozen[i] + patch[i](tap[i - 1])    for i <= k
    tap[i] = frozen[i]                           for k < i < G
    tap[G] = frozen[G] + exit(tap[k])            when k < G

No gradient crosses a frozen group, it is exact all the same, and the frozen activations depend on
the picture alone, so that they can be computed once and used in each epoch. The paper wires its
patches into the backbone and leaves open how a patch before the last group learns without
back-propagation through the rest; here an *exit* (one more 1x1 patch) leads from the last patched
tap to the deepest one, which is all that a classifier reads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchline_ros.patching.patch import Patch
from patchline_ros.vision.backbone import GroupSpec
from patchline_ros.vision.model import TaskModel


class PatchedModel(nn.Module):
    """A frozen copy of a source model with `k` side patches and a head of its own to train."""

    def __init__(self, source: TaskModel, k: int) -> None:
        """Copies `source`; freezes the backbone's copy.

        Args:
            source: the model to patch; it is left untouched.
            k: number of patches, counted from the input.

        Raises:
            ValueError: k is not within 1 .. number of groups.
        """
        super().__init__()
        groups = len(source.backbone.specs)
        if not 1 <= k <= groups:
            raise ValueError(f"{k} patches asked for; this backbone takes 1 to {groups}")
        self.spec = source.spec
        self.k = k
        model = copy.deepcopy(source)
        self.backbone = model.backbone.eval().requires_grad_(False)
        self.head = model.head
        specs = self.backbone.specs
        self.patches = nn.ModuleList(Patch(spec) for spec in specs[:k])
        self.exit: Patch | None = None
        if k < groups:
            stride = int(np.prod([spec.stride for spec in specs[k:]]))
            self.exit = Patch(GroupSpec(specs[k].in_channels, specs[-1].out_channels, stride))

    def train(self, mode: bool = True) -> PatchedModel:
        """Training mode for patches and head; the frozen backbone always evaluates."""
        super().train(mode)
        self.backbone.eval()
        return self

    def frozen_taps(self, images: Tensor) -> list[Tensor]:
        """The backbone's taps for images (B, 3, H, W), without a gradient: what may be cached."""
        with torch.no_grad():
            taps: list[Tensor] = self.backbone(images)
        return taps

    def patched_taps(self, frozen: list[Tensor]) -> list[Tensor]:
        """The sums that the head reads."""
        taps = [frozen[0]]
        for patch, below in zip(self.patches, frozen[1:], strict=False):
            taps.append(below + patch(taps[-1]))
        taps.extend(frozen[self.k + 1 :])
        if self.exit is not None:
            taps[-1] = taps[-1] + self.exit(taps[self.k])
        return taps

    def from_taps(self, frozen: list[Tensor]) -> Any:
        """Raw outputs of the head from frozen taps."""
        return self.head(self.patched_taps(frozen))

    def forward(self, images: Tensor) -> Any:
        """Raw outputs of the head."""
        return self.from_taps(self.frozen_taps(images))

    def patch_parameters(self) -> Iterator[nn.Parameter]:
        """What the patches (and the exit) train."""
        yield from self.patches.parameters()
        if self.exit is not None:
            yield from self.exit.parameters()

    def warm_start(self, other: PatchedModel) -> None:
        """Takes over the trained patches of a model with the same backbone architecture.

        Raises:
            ValueError: the other model has another number of patches or other channels.
        """
        if other.k != self.k or other.backbone.specs != self.backbone.specs:
            raise ValueError(
                f"patches move between equal backbones only: {other.k} patches on "
                f"{other.backbone.channels} channels do not fit {self.k} on "
                f"{self.backbone.channels}"
            )
        self.patches.load_state_dict(other.patches.state_dict())
        if self.exit is not None and other.exit is not None:
            self.exit.load_state_dict(other.exit.state_dict())
