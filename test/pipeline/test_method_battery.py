"""One battery over every method and model, at small sizes.

Each model meets every third method, another third than the model before it, and the three models of
a backbone follow each other: so every method meets every backbone. The two norm policies alternate
in the same way: every method and every model meets both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import NAMES, adapted
from patchline_ros.patching.patch_set import PatchSetMetadata, apply, to_bytes
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Task
from patchline_ros.vision.backbone import reestimate_norm
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.model import MODELS, ModelSpec, TaskModel, fingerprint

SIDE = 64
CLASSES = ("a", "b", "c")
METHODS = {
    "patchline_side": PatchSettings(k=2),
    "patchline_side_head": PatchSettings(k=3, head="side"),
    "patchline_inline": PatchSettings(k=2, wiring="inline", head="frozen"),
    "patchline_detached": PatchSettings(k=4, wiring="detached"),
    "ft_full": FineTuneSettings(method="ft_full"),
    "ft_norm": FineTuneSettings(method="ft_norm"),
    "ft_last": FineTuneSettings(method="ft_last"),
    "lst_stage_4": LadderSettings(reduction=4, rungs="stage"),
    "lst_stage_8": LadderSettings(reduction=8, rungs="stage"),
    "lst_block_4": LadderSettings(reduction=4, rungs="block"),
    "lst_block_8": LadderSettings(reduction=8, rungs="block"),
}
LEFT_OUT = {"ft_affine"}
"""A part of ft_norm: three steps on scale and shift alone do not lower every detector's loss."""


@cache
def source_of(name: str) -> tuple[TaskModel, str]:
    """A small model and its fingerprint; every test gets the same one and must leave it alone."""
    torch.manual_seed(0)
    model = TaskModel(ModelSpec.named(name, CLASSES, (SIDE, SIDE), width=0.25)).eval()
    # With the statistics of a random start a deep backbone gives nearly the same for every picture.
    reestimate_norm(model, [torch.randn(4, 3, SIDE, SIDE)])
    return model, fingerprint(model)


def batch_of(task: Task) -> tuple[Tensor, Any]:
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    images[1, :, :, SIDE // 2 :] += 2
    if task is Task.CLASSIFICATION:
        return images, torch.tensor([0, 2, 1])
    if task is Task.SEGMENTATION:
        return images, torch.tensor([0, 2]).repeat_interleave(SIDE // 2).expand(3, SIDE, SIDE)
    box = {"boxes": torch.tensor([[8.0, 8, 40, 44]]), "labels": torch.tensor([1])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return images, [box, none, box]


def outputs(model: TaskModel | AdaptedModel, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(tensors_in(model(images)))


def train_on(model: AdaptedModel, images: Tensor, targets: Any, steps: int) -> list[float]:
    """Losses of some steps on one batch; dropout draws the same each time."""
    parameters = [p for part in model.trained_parameters().values() for p in part]
    optimiser = torch.optim.AdamW(parameters, lr=2e-4)
    model.train()
    losses = []
    for _ in range(steps):
        torch.manual_seed(0)
        loss = model.head.loss(model(images), targets)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    return losses


CASES = [
    (name, method, ("source", "reestimated")[(i + j) // 3 % 2])
    for i, name in enumerate(MODELS)
    for j, method in enumerate(METHODS)
    if (i + j) % 3 == 0
]


def test_every_method_meets_every_backbone_and_every_model_both_norm_policies() -> None:
    backbones = {ModelSpec.named(name, CLASSES, (SIDE, SIDE)).backbone for name in MODELS}
    met = {
        (ModelSpec.named(name, CLASSES, (SIDE, SIDE)).backbone, method) for name, method, _ in CASES
    }
    assert met == {(backbone, method) for backbone in backbones for method in METHODS}
    norms = {(name, norm) for name, _, norm in CASES} | {
        (method, norm) for _, method, norm in CASES
    }
    assert {settings.method for settings in METHODS.values()} == {*NAMES} - LEFT_OUT
    both = ("source", "reestimated")
    assert norms == {(name, norm) for name in (*MODELS, *METHODS) for norm in both}


@pytest.mark.parametrize(("name", "method", "norm"), CASES)
def test_every_method_on_every_model(name: str, method: str, norm: str) -> None:
    source, base = source_of(name)
    images, targets = batch_of(source.spec.task)
    torch.manual_seed(0)
    model = adapted(source, METHODS[method])
    if norm == "reestimated":
        reestimate_norm(model.backbone, [images])
    first = {key: value.clone() for key, value in model.state_dict().items()}

    losses = train_on(model, images, targets, steps=3)
    assert losses[-1] < losses[0]

    kept = model.adapted_state(norm).keys()
    for key, value in model.state_dict().items():
        assert key in kept or torch.equal(value, first[key]), f"{key} was frozen and has changed"
    for key, parameter in model.named_parameters():
        assert key in kept or parameter.grad is None, f"{key} is frozen and has a gradient"

    metadata = PatchSetMetadata(
        task=source.spec.task,
        version=1,
        base_fingerprint=base,
        method=METHODS[method],
        norm=norm,
        seed=0,
    )
    again = apply(source, base, to_bytes(model, metadata))
    after = outputs(model, images)
    for one, other in zip(after, outputs(again, images), strict=True):
        assert torch.equal(one, other)
    before = outputs(source, images)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert fingerprint(source) == base
