"""What a trial shows to the graph: a few foggy pictures again and again, and labelled ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.tasks import IGNORE, Boxes, Frame, Image, Sample, Task

PICTURES: Final = 6
LABELLED: Final = 24
_SIZE: Final = (240, 320)
_STEP: Final = 7


@dataclass(frozen=True)
class TrialPictures:
    """A short stretch in fog: a drift, so that the source models do not return by themselves.

    Attributes:
        fixed: of each task, the pictures that are shown again and again.
        labelled: samples of each task, all different from those.
    """

    fixed: dict[Task, list[Image]]
    labelled: dict[Task, list[Sample]]


def render_pictures(size: tuple[int, int] = _SIZE) -> TrialPictures:
    """Renders it; every fifth frame is a fixed one, the others are labelled."""
    simulator = RoadSimulator(0, size)
    frames = [
        simulator.frame(number * _STEP, Condition.FOG) for number in range(PICTURES + LABELLED)
    ]
    every = len(frames) // PICTURES
    fixed = frames[::every]
    others = [frame for number, frame in enumerate(frames) if number % every]
    return TrialPictures(
        fixed={task: [_sample(frame, task).image for frame in fixed] for task in Task},
        labelled={task: [_sample(frame, task) for frame in others] for task in Task},
    )


def within(sample: Sample, classes: int) -> Sample:
    """The sample with its class ids modulo `classes`, for models that know other classes."""
    label = sample.label
    if isinstance(label, Boxes):
        return Sample(sample.image, Boxes.truth(label.boxes, label.labels % classes))
    if isinstance(label, int):
        return Sample(sample.image, label % classes)
    return Sample(sample.image, np.where(label == IGNORE, label, label % classes).astype(np.uint8))


def _sample(frame: Frame, task: Task) -> Sample:
    return frame.samples[task]
