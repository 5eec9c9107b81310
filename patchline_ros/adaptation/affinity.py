"""How alike two models see the same pictures, and the order of training that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import imagehash
import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from patchline_ros.tasks import Image, Task
from patchline_ros.vision.inputs import image_tensor, resize_image
from patchline_ros.vision.model import TaskModel

Affinity = Mapping[str, Sequence[float]]


def pair_key(first: Task, second: Task) -> str:
    """The table's key of two models, the same for both orders."""
    return " ".join(sorted((str(first), str(second))))


def _hashes(model: TaskModel, images: Sequence[Image]) -> list[list[imagehash.ImageHash]]:
    """Perceptual hash of each group's feature map, [image][group]."""
    rows = []
    for image in images:
        picture = image_tensor(resize_image(image, model.spec.input_size))[None]
        with torch.inference_mode():
            taps = model.backbone(picture)[1:]
        rows.append([imagehash.phash(_as_picture(tap[0])) for tap in taps])
    return rows


def _as_picture(tap: Tensor) -> PilImage.Image:
    """A feature map (C, H, W) as a grey picture: mean over the channels, stretched to 0..255."""
    grey = tap.mean(dim=0)
    low, high = grey.min(), grey.max()
    stretched = (grey - low) / (high - low).clamp(min=1e-12) * 255
    return PilImage.fromarray(stretched.to(torch.uint8).numpy())


def affinity_table(
    models: Mapping[Task, TaskModel], images: Sequence[Image]
) -> dict[str, list[float]]:
    """Similarity of each pair of models for each group, 1 - Hamming distance / bits, in 0..1.

    Source: paper, section 4.4; perceptual hash over the same source images.

    Raises:
        ValueError: no images.
    """
    if not images:
        raise ValueError("an affinity table needs at least one source image")
    hashes = {task: _hashes(model, images) for task, model in models.items()}
    table = {}
    for first, second in combinations(sorted(models, key=str), 2):
        similarity = [
            [1 - (a - b) / a.hash.size for a, b in zip(row_a, row_b, strict=True)]
            for row_a, row_b in zip(hashes[first], hashes[second], strict=True)
        ]
        table[pair_key(first, second)] = [float(x) for x in np.mean(similarity, axis=0)]
    return table


def similarity(table: Affinity, first: Task, second: Task, patches: int) -> float:
    """Mean similarity of two models over the first `patches` groups."""
    return float(np.mean(table[pair_key(first, second)][:patches]))


def training_order(table: Affinity, tasks: Sequence[Task], patches: int) -> list[Task]:
    """Tasks by falling total affinity to the others; ties by name (paper, section 4.4)."""

    def total(task: Task) -> float:
        return sum(similarity(table, task, other, patches) for other in tasks if other is not task)

    return sorted(tasks, key=lambda task: (-total(task), str(task)))


def most_similar(table: Affinity, task: Task, trained: Sequence[Task], patches: int) -> Task | None:
    """The model already trained that is most like `task`; None when there is none."""
    if not trained:
        return None
    return max(trained, key=lambda other: (similarity(table, task, other, patches), str(other)))
