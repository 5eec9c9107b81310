"""The three tasks and the plain data that every part of the package passes around."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    # A launch file reads this module with a Python that has the standard library and ROS alone.
    import numpy as np
    from numpy.typing import NDArray

IGNORE = 255
"""Class id of pixels that no segmentation loss or metric counts."""

Image: TypeAlias = "NDArray[np.uint8]"
ClassMap: TypeAlias = "NDArray[np.uint8]"


EARLIER_TASK_NAMES: Final = {
    "signs": "classification",
    "objects": "detection",
    "lanes": "segmentation",
}
"""What tasks were called in bundles of formats 1 and 2, in patch sets of format 2, in labelled
frames of that time, and in configurations."""


class Task(str, Enum):
    """What a model is for. A task is also found by its earlier name."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"

    def __str__(self) -> str:
        """The name as it stands in files and reports (the same on every Python)."""
        return self.value

    @property
    def traits(self) -> TaskTraits:
        """What trainings and measurements need to know of it."""
        return _TRAITS[self]

    @property
    def earlier_names(self) -> tuple[str, ...]:
        """Names under which files of earlier formats know it."""
        return tuple(old for old, new in EARLIER_TASK_NAMES.items() if new == self.value)

    @classmethod
    def _missing_(cls, value: object) -> Task | None:
        """The task of an earlier name; so every file and message of that time can be read."""
        name = EARLIER_TASK_NAMES.get(value) if isinstance(value, str) else None
        return cls(name) if name else None


@dataclass(frozen=True)
class TaskTraits:
    """What trainings and measurements need to know of a task.

    Attributes:
        metric: name of the measure of success; `vision.metrics` computes it.
        one_label: a picture has one label. Such a picture is neither mirrored nor cropped, since
            that may change what it shows, and a training needs pictures of two classes or more.
        source_epochs: passes over the source pictures that a source model is trained for.
        adapter_rate: peak learning rate of patches and ladders, AdamW.
        head_rate: of the head's layers.
        backbone_rate: of the backbone's layers, where they are trained.
        rate_factor: multiplies these rates in an adaptation on a car.
        verification_frames: labelled frames that the patch set of an earlier drift is verified on,
            at least: few, since one that they wrongly turn down costs a training and no more.
    """

    metric: str
    one_label: bool
    source_epochs: int
    adapter_rate: float
    head_rate: float
    backbone_rate: float
    rate_factor: float
    verification_frames: int


_TRAITS: Final = {
    # One label a picture, where the others have thousands, overfits at higher rates.
    Task.CLASSIFICATION: TaskTraits("accuracy", True, 20, 5e-4, 2e-4, 2e-4, 1.0, 8),
    Task.DETECTION: TaskTraits("mAP at IoU 0.5", False, 10, 2e-3, 1e-3, 5e-4, 1.0, 2),
    # The factors were searched on frames of `camvid-dusk` to adapt on: segmentation wants 3 to 10
    # times the base rate, for the others the scenes disagree (`bench tune`, docs/benchmarks.md).
    Task.SEGMENTATION: TaskTraits("mean IoU", False, 10, 2e-3, 1e-3, 5e-4, 3.0, 2),
}


TRAINING_ORDER: Final = (Task.SEGMENTATION, Task.DETECTION, Task.CLASSIFICATION)
"""From the task whose labels say most of a picture to the one whose labels say least. The first
source model of a bundle is of the first, and among equals the first comes first."""


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
        import numpy as np

        label_array = np.asarray(labels, dtype=np.int64).reshape(-1)
        return cls(
            boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            labels=label_array,
            scores=np.ones(len(label_array), dtype=np.float32),
        )

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.labels)


Label: TypeAlias = "int | Boxes | ClassMap"
"""classification: class id; detection: Boxes; segmentation: uint8 (H, W) class map, IGNORE where
unlabelled."""


@dataclass(frozen=True)
class Sample:
    """A picture (uint8 RGB, (H, W, 3)) and its label, for one task."""

    image: Image
    label: Label


@dataclass(frozen=True)
class Frame:
    """One moment of a drive: the road picture and the labelled samples that belong to it.

    Detection and segmentation share the road picture; classification has a picture of its own.
    """

    name: str
    image: Image
    samples: dict[Task, Sample]
