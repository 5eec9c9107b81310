"""Pictures and labels to tensors, and results back to the picture's own size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from patchline_ros.tasks import Boxes, Image, Label, Sample, Task
from patchline_ros.vision.model import ModelSpec

CPU = torch.device("cpu")
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32) * 255
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32) * 255
_NORMALISED = list(((np.arange(256, dtype=np.float32)[:, None] - _MEAN) / _STD).T.copy())
"""Of each channel, what each of its values becomes: looked up in an eighth of the time."""


class Batch(NamedTuple):
    """Images (B, 3, H, W), normalised, and the targets that the task's head wants."""

    images: Tensor
    targets: Any


def resize_image(image: Image, size: tuple[int, int]) -> Image:
    """The picture at this (height, width); averaged when it shrinks."""
    height, width = size
    if image.shape[:2] == size:
        return image
    interpolation = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)


def resized(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample at this (height, width), label included."""
    label = to_picture(sample.label, size, sample.image.shape[:2])
    return Sample(resize_image(sample.image, size), label)


def resized_together(
    samples: Mapping[Task, Sample], sizes: Mapping[Task, tuple[int, int]]
) -> dict[Task, Sample]:
    """The samples of the tasks of `sizes` at their size; a picture that they share stays shared."""
    shared: dict[tuple[int, tuple[int, int]], Image] = {}
    found: dict[Task, Sample] = {}
    for task, size in sizes.items():
        sample = samples[task]
        key = id(sample.image), size
        if key not in shared:
            shared[key] = resize_image(sample.image, size)
        found[task] = Sample(shared[key], to_picture(sample.label, size, sample.image.shape[:2]))
    return found


def image_tensor(image: Image) -> Tensor:
    """A uint8 RGB picture (H, W, 3) as a normalised float tensor (3, H, W)."""
    channels = zip(cv2.split(image), _NORMALISED, strict=True)
    return torch.from_numpy(np.stack([cv2.LUT(channel, table) for channel, table in channels]))


def _target(label: Label) -> Any:
    if isinstance(label, Boxes):
        return {"boxes": torch.from_numpy(label.boxes), "labels": torch.from_numpy(label.labels)}
    if isinstance(label, np.ndarray):
        return torch.from_numpy(label.astype(np.int64))
    return torch.tensor(int(label))


def _stacked(images: Sequence[Tensor]) -> Tensor:
    """A batch (B, 3, H, W) with the channels of a pixel side by side in memory.

    All that is computed from it keeps that order, in which convolutions on a CPU are faster.
    """
    return torch.stack(list(images)).contiguous(memory_format=torch.channels_last)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def _on(device: torch.device, target: Any) -> Any:
    if isinstance(target, dict):
        return {name: value.to(device) for name, value in target.items()}
    return target.to(device)


def make_batch(spec: ModelSpec, samples: Sequence[Sample], device: torch.device = CPU) -> Batch:
    """Images and targets of some samples, at the model's input size."""
    fitting = [resized(sample, spec.input_size) for sample in samples]
    images = _stacked([image_tensor(sample.image) for sample in fitting]).to(device)
    targets = [_on(device, _target(sample.label)) for sample in fitting]
    return Batch(images, targets if spec.task is Task.DETECTION else torch.stack(targets))


def image_batches(
    spec: ModelSpec, images: Sequence[Image], batch_size: int = 16, device: torch.device = CPU
) -> list[Tensor]:
    """Pictures of any size as batches at the model's input size."""
    tensors = [image_tensor(resize_image(image, spec.input_size)) for image in images]
    return [
        _stacked(tensors[start : start + batch_size]).to(device)
        for start in range(0, len(tensors), batch_size)
    ]


def to_picture(label: Label, size: tuple[int, int], source: tuple[int, int]) -> Label:
    """A label or result for a picture of `source` (height, width), for one of `size` instead."""
    if size == source:
        return label
    if isinstance(label, Boxes):
        x, y = size[1] / source[1], size[0] / source[0]
        factors = np.array([x, y, x, y], dtype=np.float32)
        return Boxes(label.boxes * factors, label.labels, label.scores)
    if isinstance(label, np.ndarray):
        other: Label = cv2.resize(label, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
        return other
    return label


def flipped(sample: Sample) -> Sample:
    """The sample seen in a mirror (not for classification: signs may change their meaning)."""
    image = np.ascontiguousarray(sample.image[:, ::-1])
    label = sample.label
    if isinstance(label, Boxes):
        width = sample.image.shape[1]
        mirrored = label.boxes[:, [2, 1, 0, 3]].copy()
        mirrored[:, [0, 2]] = width - mirrored[:, [0, 2]]
        return Sample(image, Boxes(mirrored, label.labels, label.scores))
    if isinstance(label, np.ndarray):
        return Sample(image, np.ascontiguousarray(label[:, ::-1]))
    raise ValueError("a sign must not be mirrored: its class can change with the side")
