"""What a training step of a method costs, and how many patches a model can afford (Algorithm 1).

Everything is counted on the meta device, where tensors have a shape and no content: neither memory
nor arithmetic is needed, at any input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import get_args

import torch
from torch import Tensor

from patchline_ros.cost.flops import FlopCounter
from patchline_ros.cost.memory import output_sum, saved_for_backward
from patchline_ros.cost.part_flops import counted_by_part
from patchline_ros.cost.shapes import meta_device
from patchline_ros.patching.adapted_model import AdaptedModel, Part
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.patching.patch import PatchDesign
from patchline_ros.patching.patched_model import PatchSettings, Wiring
from patchline_ros.vision.model import ModelSpec, TaskModel

PARTS: tuple[Part, ...] = get_args(Part)
AFFORDABLE = Fraction(2, 3)
"""Most that all patches' forward pass may take of the model's (paper, Algorithm 1)."""


@dataclass(frozen=True)
class PartFlops:
    """FLOPs of one part of an adapted model for one image and one training step."""

    frozen_forward: int
    """FLOPs of the frozen part of the forward pass, which can be cached."""
    trained_forward: int
    backward: int

    @property
    def forward(self) -> int:
        """The whole forward pass."""
        return self.frozen_forward + self.trained_forward


@dataclass(frozen=True)
class MethodCost:
    """What one method costs on one model. FLOPs are for one image, bytes for one batch."""

    settings: MethodSettings
    parameters: int
    trained_parameters: int
    source_forward: int
    """F: the forward pass of the source model."""
    parts: dict[Part, PartFlops]
    head_input_gradient: int
    """Share of the head's backward pass that is needed to reach what is trained before the head;
    the rest are gradients of the head's own weights."""
    saved_bytes: int
    """What autograd keeps of the forward pass for the backward pass."""

    @property
    def paper(self) -> int:
        """The paper's accounting: F + P_F + P_B of patches or ladder; F + B of fine-tuning.

        What is computed backward in the head and, inline, in frozen groups is left out.
        """
        if isinstance(self.settings, FineTuneSettings):
            return self.source_forward + sum(part.backward for part in self.parts.values())
        adapter = self.parts["adapter"]
        return self.source_forward + adapter.forward + adapter.backward

    @property
    def uncached(self) -> int:
        """The actual accounting: all that is computed, with every epoch starting at the image."""
        return sum(part.forward + part.backward for part in self.parts.values())

    @property
    def cached(self) -> int:
        """All that is computed in an epoch that takes the frozen part from a cache."""
        return sum(part.trained_forward + part.backward for part in self.parts.values())

    def mean_of(self, epochs: int) -> float:
        """All that is computed in an epoch, averaged: the frozen part in the first one only."""
        return self.cached + (self.uncached - self.cached) / epochs


def _pictures(spec: ModelSpec, batch: int) -> Tensor:
    return torch.empty(batch, 3, *spec.input_size, device="meta")


def _on_meta(spec: ModelSpec, settings: MethodSettings) -> AdaptedModel:
    with meta_device():
        return adapted(TaskModel(spec), settings)


@cache
def source_forward(spec: ModelSpec) -> int:
    """F: FLOPs of the source model's forward pass for one image."""
    with meta_device(), torch.no_grad(), FlopCounter() as flops:
        TaskModel(spec).eval()(_pictures(spec, 1))
    return flops.total


def method_cost(spec: ModelSpec, settings: MethodSettings, batch: int) -> MethodCost:
    """Counts one training step.

    Args:
        spec: the model, with its input size.
        settings: what is trained of it.
        batch: pictures a step, two or more, as batch norm needs in training.

    Raises:
        ValueError: the settings do not fit the model.
    """
    model = _on_meta(spec, settings).train()
    trained = model.trained_parameters()
    before_head = [p for part in trained if part != "head" for p in trained[part]]
    everything = [p for parameters in trained.values() for p in parameters]
    with meta_device(), counted_by_part(model) as counted:
        with saved_for_backward(model) as saved:
            frozen = model.frozen_part(_pictures(spec, batch))
            frozen_forward = counted.take()
            loss = output_sum(model.trained_part(frozen))
            trained_forward = counted.take()
        head_input_gradient = 0
        if before_head:
            torch.autograd.grad(loss, before_head, retain_graph=True, allow_unused=True)
            head_input_gradient = counted.take()["head"]
        torch.autograd.grad(loss, everything, allow_unused=True)
        backward = counted.take()
    return MethodCost(
        settings=settings,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in everything),
        source_forward=source_forward(spec),
        parts={
            part: PartFlops(
                frozen_forward[part] // batch,
                trained_forward[part] // batch,
                backward[part] // batch,
            )
            for part in PARTS
        },
        head_input_gradient=head_input_gradient // batch,
        saved_bytes=saved.bytes,
    )


def patch_forward(spec: ModelSpec, settings: PatchSettings) -> int:
    """P_F: FLOPs of the forward pass of all patches, an exit included, for one image."""
    model = _on_meta(spec, settings).eval()
    with meta_device(), torch.no_grad(), counted_by_part(model) as counted:
        model(_pictures(spec, 1))
        return counted.take()["adapter"]


def largest_affordable_k(
    spec: ModelSpec,
    wiring: Wiring = "side",
    design: PatchDesign | None = None,
    affordable: Fraction = AFFORDABLE,
) -> int:
    """Algorithm 1: the most patches, counted from the input, that the model can afford.

    Their forward pass may take `affordable` of the model's. An exit counts as a patch.

    Raises:
        ValueError: not even one patch is affordable.
    """
    with meta_device():
        groups = len(TaskModel(spec).backbone.specs)
    whole = source_forward(spec)
    share = Fraction(0)
    for k in range(groups, 0, -1):
        settings = PatchSettings(k=k, wiring=wiring, design=design or PatchDesign())
        share = Fraction(patch_forward(spec, settings), whole)
        if share <= affordable:
            return k
    raise ValueError(
        f"one patch already takes {float(share):.1%} of the forward pass of this model, more than "
        f"the {float(affordable):.1%} that patches may take; choose a smaller patch design"
    )
