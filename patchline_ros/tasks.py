"""The three tasks and the plain data that every part of the package passes around."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Class id of pixels that no segmentation loss or metric counts."""

Image: TypeAlias = NDArray[np.uint8]
ClassMap: TypeAlias = NDArray[np.uint8]


class Task(str, Enum):
    """What a model of the car is for."""

    SIGNS = "signs"
    OBJECTS = "objects"
    LANES = "lanes"

    def __str__(self) -> str:
        """The name as it stands in topics, files and reports (the same on every Python)."""
        return self.value


@dataclass(frozen=True)
class Boxes:
    """Objects in one picture.

    boxes: float32 (n, 4), x1, y1, x2, y2 in pixels. labels: int64 (n,). scores: float32 (n,), ones
    for ground truth.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def truth(cls, boxes: object, labels: object) -> Boxes:
        """Ground-truth boxes from anything array-like; (0, 4) when there are none."""
        label_array = np.asarray(labels, dtype=np.int64).reshape(-1)
        return cls(
            boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            labels=label_array,
            scores=np.ones(len(label_array), dtype=np.float32),
        )

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.labels)


Label: TypeAlias = int | Boxes | ClassMap
"""signs: class id; objects: Boxes; lanes: uint8 (H, W) class map, IGNORE where unlabelled."""


@dataclass(frozen=True)
class Sample:
    """A picture (uint8 RGB, (H, W, 3)) and its label, for one task."""

    image: Image
    label: Label


@dataclass(frozen=True)
class Frame:
    """One moment of a drive: the road picture and the labelled samples that belong to it.

    Lanes and objects share the road picture; signs have a picture of their own.
    """

    name: str
    image: Image
    samples: dict[Task, Sample]
