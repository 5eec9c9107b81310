"""What a trial shows to the graph: a few foggy pictures again and again, and labelled ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.tasks import IGNORE, Boxes, Frame, Image, Label, Sample, Task

_FRAMES: Final = 30
_EVERY: Final = 5
"""Each so many-th frame is a fixed one."""
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


def render_pictures() -> TrialPictures:
    """Renders it; every fifth frame is a fixed one, the others are labelled."""
    return TrialPictures(render_fixed(), render_labelled())


def render_fixed(size: tuple[int, int] = _SIZE) -> dict[Task, list[Image]]:
    """Of each task, the pictures that are shown again and again, with this height and width."""
    frames = _render([number for number in range(_FRAMES) if number % _EVERY == 0], size)
    return {task: [frame.samples[task].image for frame in frames] for task in Task}


def render_labelled() -> dict[Task, list[Sample]]:
    """Samples of each task, all different from those."""
    frames = _render([number for number in range(_FRAMES) if number % _EVERY], _SIZE)
    return {task: [frame.samples[task] for frame in frames] for task in Task}


def _render(numbers: Iterable[int], size: tuple[int, int]) -> list[Frame]:
    simulator = RoadSimulator(0, size)
    return [simulator.frame(number * _STEP, Condition.FOG) for number in numbers]


def within(sample: Sample, classes: int) -> Sample:
    """The sample with its class ids modulo `classes`, for models that know other classes."""
    label = sample.label
    if isinstance(label, Boxes):
        return Sample(sample.image, Boxes.truth(label.boxes, label.labels % classes))
    if isinstance(label, int):
        return Sample(sample.image, label % classes)
    return Sample(sample.image, np.where(label == IGNORE, label, label % classes).astype(np.uint8))


def same_label(kept: Label, sent: Label) -> bool:
    """Whether a label in the store is the one that was sent."""
    if isinstance(kept, Boxes) and isinstance(sent, Boxes):
        same = np.array_equal(kept.labels, sent.labels)  # They travel as centre and size.
        return same and np.allclose(kept.boxes, sent.boxes, atol=0.01)
    return bool(np.array_equal(np.asarray(kept), np.asarray(sent)))
