"""What a scene is: a source domain, and a drift in frames to adapt on and frames to test on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from patchline_ros.tasks import Frame, Sample, Task
from patchline_ros.vision.inputs import resized, resized_together

BLOCK = 8
"""Frames in a row that stay together where one drive gives both the frames to adapt on and the
frames to test on: neighbours are near copies."""

Part: TypeAlias = Iterable[tuple[str, Sample]]
"""Named samples, in the order of time."""


@dataclass(frozen=True)
class TaskScene:
    """One task's labelled pictures, all at `input_size` (height, width).

    source_train, source_held_out: the source domain.
    adapt: labelled frames of the drift, in the order of time: what a car would collect.
    test: other frames of the drift; nothing is chosen or tuned on them.
    names: the pictures' names by the name of the part, so that a draw can be written out.
    """

    classes: tuple[str, ...]
    source_train: list[Sample]
    source_held_out: list[Sample]
    adapt: list[Sample]
    test: list[Sample]
    input_size: tuple[int, int]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """The tasks of one benchmark, by the name under which it is asked for."""

    name: str
    tasks: dict[Task, TaskScene]


def task_scene(
    classes: tuple[str, ...],
    input_size: tuple[int, int],
    *,
    source_train: Part,
    source_held_out: Part,
    adapt: Part,
    test: Part,
) -> TaskScene:
    """Reads the parts one picture after the other and keeps them at the input size."""
    parts = {
        "source_train": source_train,
        "source_held_out": source_held_out,
        "adapt": adapt,
        "test": test,
    }
    names: dict[str, tuple[str, ...]] = {}
    samples: dict[str, list[Sample]] = {}
    for part, named in parts.items():
        small = [(name, resized(sample, input_size)) for name, sample in named]
        names[part] = tuple(name for name, _ in small)
        samples[part] = [sample for _, sample in small]
    return TaskScene(classes=classes, input_size=input_size, names=names, **samples)


def scenes_of_frames(
    classes: dict[Task, tuple[str, ...]],
    input_sizes: dict[Task, tuple[int, int]],
    *,
    source_train: Iterable[Frame],
    source_held_out: Iterable[Frame],
    adapt: Iterable[Frame],
    test: Iterable[Frame],
) -> dict[Task, TaskScene]:
    """The same for tasks that are labelled on the same frames; a picture they share stays shared.

    Every frame needs a sample for each task of `classes`.
    """
    parts = {
        "source_train": source_train,
        "source_held_out": source_held_out,
        "adapt": adapt,
        "test": test,
    }
    small = {
        part: [at_size(frame, {task: input_sizes[task] for task in classes}) for frame in frames]
        for part, frames in parts.items()
    }
    scenes = {}
    for task, names in classes.items():
        named = {
            part: [(frame.name, frame.samples[task]) for frame in frames]
            for part, frames in small.items()
        }
        scenes[task] = task_scene(names, input_sizes[task], **named)
    return scenes


def at_size(frame: Frame, sizes: Mapping[Task, tuple[int, int]]) -> Frame:
    """The frame with the samples of these tasks at these sizes."""
    samples = resized_together(frame.samples, sizes)
    return Frame(frame.name, next(iter(samples.values())).image, samples)


def alternating_blocks(count: int, block: int = BLOCK) -> tuple[list[int], list[int]]:
    """The frames of the blocks 0, 2, 4, ... and those of 1, 3, 5, ..., of `block` frames each."""
    first = [i for i in range(count) if i // block % 2 == 0]
    return first, [i for i in range(count) if i // block % 2]


def inner_folds(scene: Scene) -> list[Scene]:
    """The frames to adapt on, in two halves of alternating blocks: each is once adapted on and
    once tested on. What is tuned on these scenes has not seen a test frame of `scene`.
    """
    folds: list[dict[Task, TaskScene]] = [{}, {}]
    for task, there in scene.tasks.items():
        parts = alternating_blocks(len(there.adapt), max(1, min(BLOCK, len(there.adapt) // 2)))
        halves = [[there.adapt[i] for i in part] for part in parts]
        folds[0][task] = replace(there, adapt=halves[0], test=halves[1])
        folds[1][task] = replace(there, adapt=halves[1], test=halves[0])
    return [Scene(scene.name, tasks) for tasks in folds]
