"""Source data of a bundle: the simulated road, or CamVid's day with GTSRB's signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.datasets.camvid import LANE_CLASSES, OBJECT_CLASSES, CamVid
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.offline.source_config import SourceConfig
from patchline_ros.sim import LANE_CLASSES as SIM_LANE_CLASSES
from patchline_ros.sim import OBJECT_CLASSES as SIM_OBJECT_CLASSES
from patchline_ros.sim import SIGN_CLASSES as SIM_SIGN_CLASSES
from patchline_ros.sim import RoadSimulator
from patchline_ros.tasks import Frame, Sample, Task
from patchline_ros.vision.inputs import resized

ROAD_SIZE = (192, 256)
SIGN_SIZE = (64, 64)
INPUT_SIZES = {Task.SIGNS: SIGN_SIZE, Task.OBJECTS: ROAD_SIZE, Task.LANES: ROAD_SIZE}

SIM_TRAINING_SEEDS = range(1000, 1016)
"""Worlds that the shipped models know; a drive in the demo is through another one."""
SIM_HELD_OUT_SEEDS = range(2000, 2004)
GTSRB_TRAINING_SHARE = 0.7
GTSRB_SPLIT_SEED = 0


@dataclass(frozen=True)
class TaskData:
    """One task's labelled source data, in the order of time, at the model's input size."""

    classes: tuple[str, ...]
    names: list[str]
    train: list[Sample]
    held_out: list[Sample]
    held_out_names: list[str]


@dataclass(frozen=True)
class SourceData:
    """What a bundle is made from."""

    kind: str
    tasks: dict[Task, TaskData]


def held_out_indices(count: int) -> list[int]:
    """The last ten of each fifty frames: stretches of road, so that neighbours stay together."""
    return [i for i in range(count) if i % 50 >= 40]


def _task_data(
    task: Task, classes: tuple[str, ...], train: Sequence[Frame], held_out: Sequence[Frame]
) -> TaskData:
    size = INPUT_SIZES[task]
    return TaskData(
        classes=classes,
        names=[frame.name for frame in train],
        train=[resized(frame.samples[task], size) for frame in train],
        held_out=[resized(frame.samples[task], size) for frame in held_out],
        held_out_names=[frame.name for frame in held_out],
    )


def _sim_drive(seeds: Sequence[int], frames: int, stride: int) -> list[Frame]:
    drives = (RoadSimulator(seed) for seed in seeds)
    return [drive.frame(i * stride) for drive in drives for i in range(frames)]


def sim_source() -> SourceData:
    """Clear frames of the simulated road: 640 to train on, 80 held out, from other worlds."""
    train = _sim_drive(SIM_TRAINING_SEEDS, frames=40, stride=7)
    held_out = _sim_drive(SIM_HELD_OUT_SEEDS, frames=20, stride=7)
    classes = {
        Task.SIGNS: SIM_SIGN_CLASSES,
        Task.OBJECTS: SIM_OBJECT_CLASSES,
        Task.LANES: SIM_LANE_CLASSES,
    }
    return SourceData(
        "sim", {task: _task_data(task, classes[task], train, held_out) for task in Task}
    )


def camvid_source(data: Path) -> SourceData:
    """CamVid's day for lanes and objects, GTSRB for signs.

    Args:
        data: a folder with `camvid/day` and `gtsrb`.

    Raises:
        ValueError: a folder is missing or broken; the message names it.
    """
    day = CamVid(data / "camvid" / "day")
    held_out = set(held_out_indices(len(day)))
    train_frames = [day[i] for i in range(len(day)) if i not in held_out]
    held_out_frames = [day[i] for i in sorted(held_out)]
    signs = Gtsrb(data / "gtsrb")
    train, rest = signs.split_by_track(GTSRB_TRAINING_SHARE, GTSRB_SPLIT_SEED)
    return SourceData(
        "camvid",
        {
            Task.SIGNS: TaskData(
                classes=SIGN_CLASSES,
                names=[signs.names[i] for i in train],
                train=[resized(signs[i], SIGN_SIZE) for i in train],
                held_out=[resized(signs[i], SIGN_SIZE) for i in rest],
                held_out_names=[signs.names[i] for i in rest],
            ),
            Task.OBJECTS: _task_data(Task.OBJECTS, OBJECT_CLASSES, train_frames, held_out_frames),
            Task.LANES: _task_data(Task.LANES, LANE_CLASSES, train_frames, held_out_frames),
        },
    )


def load_source(
    sources: Mapping[Task, SourceConfig],
    data: Path | None,
    sizes: Mapping[Task, tuple[int, int]],
    workers: int,
) -> SourceData:
    """Stand-in."""
    return sim_source() if data is None else camvid_source(data)
