"""A task's model: a grouped backbone with a head, and the names of the known models."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from patchline_ros.config_files import StrictModel
from patchline_ros.tasks import Task
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.heads.classification import ClassificationHead
from patchline_ros.vision.heads.detection import FCOSHeadOnPyramid
from patchline_ros.vision.heads.retinanet import RetinaNetOnPyramid
from patchline_ros.vision.heads.segmentation import (
    DeepLabV3PlusHead,
    PyramidSegmentationHead,
    UNetHead,
)
from patchline_ros.vision.heads.ssd import SSDOnTaps
from patchline_ros.vision.heads.yolov4 import YOLOv4OnTaps
from patchline_ros.vision.torchvision_backbones import (
    BackboneName,
    CutBackbone,
    Weights,
    cut_backbone,
)

HeadName = Literal[
    "classifier", "fcos", "ssd", "retinanet", "yolov4", "fpn", "unet", "deeplabv3plus"
]
_DETECTORS: dict[HeadName, Any] = {
    "fcos": FCOSHeadOnPyramid,
    "ssd": SSDOnTaps,
    "retinanet": RetinaNetOnPyramid,
    "yolov4": YOLOv4OnTaps,
}
_SEGMENTERS: dict[HeadName, Any] = {
    "fpn": PyramidSegmentationHead,
    "unet": UNetHead,
    "deeplabv3plus": DeepLabV3PlusHead,
}
_HEADS: dict[Task, tuple[HeadName, ...]] = {
    Task.CLASSIFICATION: ("classifier",),
    Task.DETECTION: tuple(_DETECTORS),
    Task.SEGMENTATION: tuple(_SEGMENTERS),
}
"""The heads of each task; the first is the one that a car uses."""
SMALLEST_SIDE = 32


class ModelParts(NamedTuple):
    """What a model's name stands for."""

    task: Task
    backbone: BackboneName
    head: HeadName


MODELS: dict[str, ModelParts] = {
    "vgg16": ModelParts(Task.CLASSIFICATION, "vgg16", "classifier"),
    "ssd_vgg16": ModelParts(Task.DETECTION, "vgg16", "ssd"),
    "unet_vgg16": ModelParts(Task.SEGMENTATION, "vgg16", "unet"),
    "resnet50": ModelParts(Task.CLASSIFICATION, "resnet50", "classifier"),
    "retinanet_resnet50": ModelParts(Task.DETECTION, "resnet50", "retinanet"),
    "unet_resnet50": ModelParts(Task.SEGMENTATION, "resnet50", "unet"),
    "mobilenet_v2": ModelParts(Task.CLASSIFICATION, "mobilenet_v2", "classifier"),
    "yolov4_mobilenet_v2": ModelParts(Task.DETECTION, "mobilenet_v2", "yolov4"),
    "deeplabv3plus_mobilenet_v2": ModelParts(Task.SEGMENTATION, "mobilenet_v2", "deeplabv3plus"),
    "swin_t": ModelParts(Task.CLASSIFICATION, "swin_t", "classifier"),
    "retinanet_swin_t": ModelParts(Task.DETECTION, "swin_t", "retinanet"),
    "deeplabv3plus_swin_t": ModelParts(Task.SEGMENTATION, "swin_t", "deeplabv3plus"),
    "fcos_mobilenet_v2": ModelParts(Task.DETECTION, "mobilenet_v2", "fcos"),
    "fpn_mobilenet_v2": ModelParts(Task.SEGMENTATION, "mobilenet_v2", "fpn"),
}
"""The twelve models of the paper's Table 2, and the two light ones of the car."""


class ModelSpec(StrictModel):
    """Everything needed to build a model again; its weights come from a file."""

    task: Task
    classes: tuple[str, ...] = Field(min_length=1)
    input_size: tuple[int, int]
    backbone: BackboneName = "mobilenet_v2"
    head: HeadName = Field(default_factory=lambda data: _HEADS[data["task"]][0])
    """The light one of the task when not given."""
    width: float = Field(default=1.0, gt=0, le=2)

    @classmethod
    def named(
        cls, name: str, classes: tuple[str, ...], input_size: tuple[int, int], width: float = 1.0
    ) -> ModelSpec:
        """One of the known models.

        Raises:
            ValueError: the name is not known (the message lists those that are), or a size that
                the model can't take.
        """
        if name not in MODELS:
            raise ValueError(f"there is no model {name!r}; known are {', '.join(MODELS)}")
        parts = MODELS[name]
        return cls(classes=classes, input_size=input_size, width=width, **parts._asdict())

    @field_validator("input_size")
    @classmethod
    def _large_enough(cls, size: tuple[int, int]) -> tuple[int, int]:
        if min(size) < SMALLEST_SIDE:
            raise ValueError(
                f"input_size {size} is too small for the backbones, which shrink a picture 32 "
                f"times; give at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
            )
        return size

    @model_validator(mode="after")
    def _head_of_the_task(self) -> ModelSpec:
        if self.head not in _HEADS[self.task]:
            raise ValueError(
                f"{self.head} is not a head for {self.task}; those are "
                f"{', '.join(_HEADS[self.task])}"
            )
        if len(self.classes) == 1 and self.task is not Task.DETECTION:
            raise ValueError(
                f"one class, {self.classes[0]!r}, is too few for {self.task}: a softmax over one "
                "class is always sure; give at least two"
            )
        return self


def _head(spec: ModelSpec, cut: CutBackbone) -> Head:
    classes = len(spec.classes)
    if spec.task is Task.CLASSIFICATION:
        return ClassificationHead(cut, classes)
    make = {**_DETECTORS, **_SEGMENTERS}[spec.head]
    head: Head = make(cut.backbone, classes, spec.input_size)
    return head


class TaskModel(nn.Module):
    """A backbone and a head; `forward` gives the head's raw outputs for images (B, 3, H, W)."""

    def __init__(self, spec: ModelSpec, weights: Weights | None = None) -> None:
        super().__init__()
        cut = cut_backbone(spec.backbone, spec.width, weights)
        self.spec = spec
        self.backbone = cut.backbone
        self.head = _head(spec, cut)

    def forward(self, images: torch.Tensor) -> Any:
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
