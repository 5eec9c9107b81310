"""Source data of a bundle: read from anyone's data sets, or painted by the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from patchline_ros.datasets.reading import Job, Readings, Samples, read_all
from patchline_ros.offline.source_config import SourceConfig
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import resized_together

ROAD_SIZE = (192, 256)
SIGN_SIZE = (64, 64)
INPUT_SIZES = {
    Task.CLASSIFICATION: SIGN_SIZE,
    Task.DETECTION: ROAD_SIZE,
    Task.SEGMENTATION: ROAD_SIZE,
}

_CAMVID_SETS = {"camvid", "gtsrb"}


@dataclass(frozen=True)
class TaskData:
    """One task's labelled source data, in the order of time, at the model's input size."""

    classes: tuple[str, ...]
    names: list[str]
    train: list[Sample]
    held_out: list[Sample]
    held_out_names: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        height, width = self.train[0].image.shape[:2]
        return height, width


@dataclass(frozen=True)
class SourceData:
    """What a bundle is made from."""

    kind: str
    tasks: dict[Task, TaskData]
    broken: list[str] = field(default_factory=list)
    """A sentence for each picture or label that could not be read, and so was left out."""


def load_source(
    sources: Mapping[Task, SourceConfig],
    data: Path | None,
    sizes: Mapping[Task, tuple[int, int]],
    workers: int,
) -> SourceData:
    """Reads the source data of a bundle; each picture is made small as soon as it is read.

    Args:
        sources: where each task's data come from; tasks with equal sources share their pictures.
        data: the folder that holds the data sets, None where all paths are absolute.
        sizes: (height, width) of each model's input.
        workers: threads that read; the result is the same for any number of them.

    Raises:
        ValueError: no task, a folder that is missing or broken, a set without labels for its task,
            or more than half of the pictures of a part can't be read.
        ModuleNotFoundError: a bag can't be read without the package rosbags.
    """
    if not sources:
        raise ValueError(
            "there is no task to train: name a source for classification, detection or segmentation"
        )
    groups: dict[tuple[SourceConfig, Task | None], list[Task]] = {}
    for task in Task:
        if task in sources:
            config = sources[task]
            groups.setdefault((config, task if config.per_task else None), []).append(task)
    draws = {key: key[0].draw(tasks[0], data) for key, tasks in groups.items()}
    for key, tasks in groups.items():
        for task in tasks:
            if task not in draws[key].classes:
                there = ", ".join(map(str, draws[key].classes))
                raise ValueError(
                    f"{key[0].set} has no labels for {task} here, only for {there}; name another "
                    "source"
                )
    found: dict[Task, TaskData] = {}
    broken: list[str] = []
    for key, tasks in groups.items():
        draw, own = draws[key], {task: sizes[task] for task in tasks}
        train = _read(draw.train, own, workers, f"{key[0].set} to train on")
        held_out = _read(draw.held_out, own, workers, f"{key[0].set} to hold out")
        broken += [f"{key[0].set}: {sentence}" for sentence in [*train.broken, *held_out.broken]]
        for task in tasks:
            found[task] = TaskData(
                classes=draw.classes[task],
                names=train.names,
                train=[samples[task] for samples in train.items],
                held_out=[samples[task] for samples in held_out.items],
                held_out_names=held_out.names,
            )
    sets = list(dict.fromkeys(config.set for config, _ in groups))
    kind = "camvid" if set(sets) == _CAMVID_SETS else "+".join(sets)
    return SourceData(kind, {task: found[task] for task in Task if task in found}, broken)


def _read(
    jobs: Iterable[Job[Samples]],
    sizes: Mapping[Task, tuple[int, int]],
    workers: int,
    what: str,
) -> Readings[dict[Task, Sample]]:
    readings = read_all(_shrinking(jobs, sizes), workers)
    readings.check(what)
    return readings


def _shrinking(
    jobs: Iterable[Job[Samples]], sizes: Mapping[Task, tuple[int, int]]
) -> Iterator[Job[dict[Task, Sample]]]:
    return ((name, partial(_small, read, sizes)) for name, read in jobs)


def _small(
    read: Callable[[], Samples], sizes: Mapping[Task, tuple[int, int]]
) -> dict[Task, Sample]:
    return resized_together(read(), sizes)
