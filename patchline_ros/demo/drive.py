"""What the camera plays: a clear stretch, then the same kind of road after a change of conditions.

A drive is a small file from which the very same frames can be had again: the camera plays them, and
afterwards the score looks up their labels. The part after the change is played over and over, a
*lap* each time; in it short blocks of frames take turns: those of `adapt` blocks are labelled for
the adapter, those of `test` blocks never. The labels come with the second lap. So the drift is
noticed before the first label, which the adapter needs to know which labels belong to it, and every
test frame is seen by the source models before anything can change.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.datasets.gtsrb import Gtsrb
from patchline_ros.datasets.recordings import open_frames
from patchline_ros.demo.records import Split
from patchline_ros.drift.corruptions import corrupt
from patchline_ros.files import write_file
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.sim.defaults import PICTURE_STEP
from patchline_ros.tasks import Frame, Sample, Task

ADAPT_BLOCK, TEST_BLOCK = 8, 4
"""Frames in a row that are for the adapter, then frames in a row that are for the test."""

LABELLED_LAP = 1
"""The lap with which the labels are published; the laps count from 0."""

CLEAR = "clear"


class DriveError(ValueError):
    """No drive can be made of what was given; the message says why."""


class SimRoad(StrictModel):
    """The simulated road. Sizes are (height, width) in pixels."""

    kind: Literal["sim"] = "sim"
    seed: int
    size: tuple[int, int]
    condition: Condition
    severity: float
    source_frames: int
    drift_frames: int


class Recording(StrictModel):
    """Those frames of a recording that are played, by name and in its order."""

    path: Path
    labels: Path | None = None
    topic: str | None = None
    names: tuple[str, ...]


class Signs(StrictModel):
    """Sign pictures of a GTSRB folder, as its indices, and what is done to them in the drift."""

    path: Path
    source: tuple[int, ...]
    adapt: tuple[int, ...]
    test: tuple[int, ...]
    corruption: str
    severity: float


class FilmedRoad(StrictModel):
    """Recorded frames: `source`, then `drift`, which is corrupted where `corruption` names how.

    repeats: how often the drift's road frames come in one lap, to go with enough different signs.
    """

    kind: Literal["frames"] = "frames"
    source: Recording
    drift: Recording
    condition: str
    corruption: str | None = None
    severity: float
    signs: Signs | None = None
    repeats: int = 1


class Drive(StrictModel):
    """The file: which road, and the seed of everything drawn by chance in it."""

    seed: int
    road: Annotated[SimRoad | FilmedRoad, Field(discriminator="kind")]

    def save(self, path: Path) -> None:
        """Write the file; it is never seen half-written."""
        write_file(path, self.model_dump_json(indent=1).encode())


@dataclass(frozen=True)
class Shot:
    """One frame of a drive.

    index: its place, from 0. names: the picture that each task sees. labelled: the tasks whose
    labels are published with it in the labelled lap.
    """

    index: int
    frame: Frame
    condition: str
    split: Split
    names: dict[Task, str]
    labelled: frozenset[Task]


def split_at(position: int) -> Split:
    """What the frame at this place after the change is for."""
    return Split.ADAPT if position % (ADAPT_BLOCK + TEST_BLOCK) < ADAPT_BLOCK else Split.TEST


class Shots(ABC):
    """A drive, opened."""

    def __init__(self, source_frames: int, drift_frames: int, tasks: frozenset[Task]) -> None:
        """tasks: those that some frame has a label for."""
        self.source_frames = source_frames
        self.drift_frames = drift_frames
        self.tasks = tasks

    def test_indices(self) -> frozenset[int]:
        """Places of the test frames."""
        return frozenset(
            self.source_frames + position
            for position in range(self.drift_frames)
            if split_at(position) is Split.TEST
        )

    def play(self, lap: int) -> Iterator[Shot]:
        """The shots in order: all of them in lap 0, those after the change in later ones."""
        if lap == 0:
            yield from self.source()
        yield from self.drift(frozenset({Split.ADAPT, Split.TEST}))

    def measured(self) -> Iterator[Shot]:
        """The shots that metrics are computed on: those before the change, then the test frames."""
        yield from self.source()
        yield from self.drift(frozenset({Split.TEST}))

    def labelled_frames(self) -> int:
        """How many road frames are labelled in all."""
        return sum(self.labels_road_at(place) for place in range(self.drift_frames))

    @abstractmethod
    def labels_road_at(self, position: int) -> bool:
        """Whether the labels of the road frame at this place after the change go out."""

    @abstractmethod
    def source(self) -> Iterator[Shot]:
        """The frames before the change."""

    @abstractmethod
    def drift(self, splits: frozenset[Split]) -> Iterator[Shot]:
        """The frames after the change that are for one of `splits`."""


def open_drive(path: Path) -> Shots:
    """The drive in a file that `Drive.save` wrote; the same file gives the same frames.

    Raises DriveError when the file is missing or not a drive, ValueError when a recording it names
    cannot be read.
    """
    if not path.is_file():
        raise DriveError(f"there is no drive {path}; `patchline demo` writes one into its --out")
    try:
        drive = Drive.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise DriveError(f"{path} is not a drive: {first_mistake(error, Drive)}") from error
    if isinstance(drive.road, SimRoad):
        return SimShots(drive.road)
    return FilmedShots(drive.road, drive.seed)


class SimShots(Shots):
    """The simulated road.

    Each block is a stretch of its own, far from all others, so that no test frame shows what an
    adapt frame has shown. Frames after the change are kept, so later passes cost nothing.
    """

    _STRETCH = 400
    """Simulated frames from the start of one block to that of the next."""

    def __init__(self, road: SimRoad) -> None:
        """Make the road; nothing is rendered yet."""
        super().__init__(road.source_frames, road.drift_frames, frozenset(Task))
        self._road = road
        self._simulator = RoadSimulator(road.seed, road.size)
        self._rendered: dict[int, Shot] = {}

    def source(self) -> Iterator[Shot]:
        """One stretch in clear weather."""
        for index in range(self.source_frames):
            frame = self._simulator.frame(index * PICTURE_STEP, Condition.CLEAR)
            yield self._shot(index, frame, CLEAR, Split.SOURCE)

    def drift(self, splits: frozenset[Split]) -> Iterator[Shot]:
        """Stretches in the drive's condition, past the clear one."""
        for position in range(self.drift_frames):
            if split_at(position) not in splits:
                continue
            if position not in self._rendered:
                self._rendered[position] = self._render(position)
            yield self._rendered[position]

    def labels_road_at(self, position: int) -> bool:
        """Those of every adapt frame."""
        return split_at(position) is Split.ADAPT

    def _render(self, position: int) -> Shot:
        period, place = divmod(position, ADAPT_BLOCK + TEST_BLOCK)
        split = split_at(position)
        stretch, offset = 2 * period, place
        if split is Split.TEST:
            stretch, offset = 2 * period + 1, place - ADAPT_BLOCK
        start = self.source_frames * PICTURE_STEP + self._STRETCH
        number = start + stretch * self._STRETCH + offset * PICTURE_STEP
        frame = self._simulator.frame(number, self._road.condition, self._road.severity)
        return self._shot(self.source_frames + position, frame, str(self._road.condition), split)

    def _shot(self, index: int, frame: Frame, condition: str, split: Split) -> Shot:
        return Shot(
            index=index,
            frame=frame,
            condition=condition,
            split=split,
            names=dict.fromkeys(frame.samples, frame.name),
            labelled=frozenset(frame.samples) if split is Split.ADAPT else frozenset(),
        )


class FilmedShots(Shots):
    """Recorded frames, with sign pictures of another set beside them."""

    def __init__(self, road: FilmedRoad, seed: int) -> None:
        """List the sign pictures; ValueError when their folder cannot be read."""
        super().__init__(
            len(road.source.names),
            len(road.drift.names) * road.repeats,
            frozenset(Task) if road.signs else frozenset({Task.DETECTION, Task.SEGMENTATION}),
        )
        self._road = road
        self._seed = seed
        self._signs = Gtsrb(road.signs.path) if road.signs else None

    def source(self) -> Iterator[Shot]:
        """The frames of the first recording, with clear signs."""
        for index, frame in enumerate(frames_of(self._road.source)):
            yield self._shot(index, frame, CLEAR, Split.SOURCE, index, set())

    def drift(self, splits: frozenset[Split]) -> Iterator[Shot]:
        """The frames of the second recording, as often as it repeats, with corrupted signs."""
        order = dict.fromkeys(Split, 0)
        position = 0
        for _ in range(self._road.repeats):
            for place, recorded in enumerate(frames_of(self._road.drift)):
                # The split is the road frame's own: it is the same in every repetition.
                split = split_at(place)
                frame = self._corrupted(recorded)
                labelled = set(frame.samples) if self.labels_road_at(position) else set()
                if split is Split.ADAPT:
                    labelled.add(Task.CLASSIFICATION)
                index = self.source_frames + position
                condition = self._road.condition
                if split in splits:
                    yield self._shot(index, frame, condition, split, order[split], labelled)
                order[split] += 1
                position += 1

    def labels_road_at(self, position: int) -> bool:
        """Each adapt frame's once, a part of them in each repetition, so that signs keep pace."""
        repeat, place = divmod(position, len(self._road.drift.names))
        return split_at(place) is Split.ADAPT and place % self._road.repeats == repeat

    def test_indices(self) -> frozenset[int]:
        """Places of the test frames; the pattern starts again with every repetition."""
        length = len(self._road.drift.names)
        return frozenset(
            self.source_frames + repeat * length + place
            for repeat in range(self._road.repeats)
            for place in range(length)
            if split_at(place) is Split.TEST
        )

    def _corrupted(self, frame: Frame) -> Frame:
        if self._road.corruption is None:
            return frame
        rng = np.random.default_rng([self._seed, zlib.crc32(frame.name.encode())])
        image = corrupt(frame.image, self._road.corruption, self._road.severity, rng)
        samples = {task: Sample(image, sample.label) for task, sample in frame.samples.items()}
        return Frame(frame.name, image, samples)

    def _shot(
        self,
        index: int,
        frame: Frame,
        condition: str,
        split: Split,
        number: int,
        labelled: set[Task],
    ) -> Shot:
        names = dict.fromkeys(frame.samples, frame.name)
        samples = dict(frame.samples)
        if self._signs is not None and self._road.signs is not None:
            chosen = self._chosen(split)
            picture = chosen[number % len(chosen)]
            samples[Task.CLASSIFICATION] = self._sign(picture, split)
            # The adapter makes file names of them.
            names[Task.CLASSIFICATION] = self._signs.names[picture].replace("/", "-")
        return Shot(
            index=index,
            frame=Frame(frame.name, frame.image, samples),
            condition=condition,
            split=split,
            names=names,
            labelled=frozenset(labelled & samples.keys()),
        )

    def _chosen(self, split: Split) -> tuple[int, ...]:
        assert self._road.signs is not None
        signs = self._road.signs
        return {
            Split.SOURCE: signs.source,
            Split.ADAPT: signs.adapt,
            Split.TEST: signs.test,
        }[split]

    def _sign(self, picture: int, split: Split) -> Sample:
        assert self._road.signs is not None and self._signs is not None
        sample = self._signs[picture]
        if split is Split.SOURCE:
            return sample
        rng = np.random.default_rng([self._seed, picture])
        signs = self._road.signs
        return Sample(corrupt(sample.image, signs.corruption, signs.severity, rng), sample.label)


def frames_of(recording: Recording) -> Iterator[Frame]:
    """The chosen frames of a recording, in its order. ValueError names a frame it cannot give."""
    wanted = set(recording.names)
    for frame in open_frames(recording.path, recording.labels, recording.topic):
        if frame.name in wanted:
            wanted.discard(frame.name)
            yield frame
    if wanted:
        raise DriveError(f"{recording.path} has no frame {min(wanted)} any more")
