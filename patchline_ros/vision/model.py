"""A task's model: a grouped backbone with a head."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from patchline_ros.tasks import Task
from patchline_ros.vision.backbone import mobilenet_v2
from patchline_ros.vision.heads import (
    ClassificationHead,
    DetectionHead,
    Head,
    SegmentationHead,
)


class ModelSpec(BaseModel):
    """Everything needed to build a model again; its weights come from a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    classes: tuple[str, ...] = Field(min_length=1)
    input_size: tuple[int, int]
    backbone: Literal["mobilenet_v2"] = "mobilenet_v2"
    width: float = Field(default=1.0, gt=0, le=2)

    @field_validator("input_size")
    @classmethod
    def _divisible(cls, size: tuple[int, int]) -> tuple[int, int]:
        if min(size) < 32 or any(side % 32 for side in size):
            raise ValueError(
                f"input_size {size} cannot be halved five times; use multiples of 32, "
                "as (height, width)"
            )
        return size


class TaskModel(nn.Module):
    """A backbone and a head; `forward` gives the head's raw outputs for images (B, 3, H, W)."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        cut = mobilenet_v2(spec.width, weights)
        self.spec = spec
        self.backbone = cut.backbone
        self.head: Head
        if spec.task is Task.SIGNS:
            self.head = ClassificationHead(cut, len(spec.classes))
        elif spec.task is Task.OBJECTS:
            self.head = DetectionHead(cut, len(spec.classes), spec.input_size)
        else:
            self.head = SegmentationHead(cut, len(spec.classes))

    def forward(self, images: Tensor) -> Any:
        """Raw outputs of the head."""
        return self.head(self.backbone(images))


def fingerprint(model: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
