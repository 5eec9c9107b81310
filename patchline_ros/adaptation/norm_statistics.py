"""Norm statistics of a road, taken over from its pictures without their labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, TypeVar

from torch.nn.modules.batchnorm import _BatchNorm

from patchline_ros.adaptation.training_settings import TrainingRecord
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import Image
from patchline_ros.vision.backbone import reestimate_norm
from patchline_ros.vision.inputs import device_of, image_batches
from patchline_ros.vision.model import TaskModel

SOURCE_WEIGHT: Final = 2
"""For each picture of the road, as how many the source counts in the norm statistics. Chosen on
the frames to adapt on of `camvid-dusk` (docs/method.md)."""


def norm_prior_of(count: int) -> int:
    """As how many pictures the source's norm statistics count beside so many of the road."""
    return SOURCE_WEIGHT * count


def reestimate(
    model: AdaptedModel, scene: Sequence[Image], prior: int, record: TrainingRecord
) -> None:
    """Moves the backbone's norm statistics to those of the scene; `record` gets the cost."""
    with FlopCounter() as flops:
        pictures = image_batches(model.spec, scene, device=device_of(model))
        reestimate_norm(model.backbone, pictures, prior)
    record.spend("norm", flops.total / 1e9)


_Model = TypeVar("_Model", bound="TaskModel | AdaptedModel")


def with_norm_of(source: _Model, scene: Sequence[Image], prior: int) -> tuple[_Model, float]:
    """A copy with re-estimated statistics, and the GFLOPs that it took."""
    with FlopCounter() as flops:
        model = moved_norm(source, scene, prior)
    return model, flops.total / 1e9


def moved_norm(source: _Model, scene: Sequence[Image], prior: int) -> _Model:
    """A copy with re-estimated statistics, in evaluation mode."""
    model = copy.deepcopy(source)
    reestimate_norm(model.backbone, image_batches(model.spec, scene), prior)
    model.eval()
    return model


def with_norm_statistics_of(model: AdaptedModel, source: TaskModel) -> AdaptedModel:
    """A copy of an adapted model whose backbone normalises as the source model's does."""
    clear = copy.deepcopy(model)
    norms = {
        name: module
        for name, module in source.backbone.named_modules()
        if isinstance(module, _BatchNorm)
    }
    for name, module in clear.backbone.named_modules():
        if name in norms:
            for own, other in zip(module.buffers(), norms[name].buffers(), strict=True):
                own.copy_(other)
    return clear.eval()
