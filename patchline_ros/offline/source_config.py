"""What a bundle is trained on, task by task, as a configuration says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from patchline_ros.config_files import StrictModel
from patchline_ros.datasets import acdc, camvid, sbd
from patchline_ros.datasets.acdc import Acdc, Condition
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.datasets.catalogue import CATALOGUE, folder_of
from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.datasets.core50 import Core50
from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.datasets.labelled_bag import LabelledBag
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.paper_splits import CORE50_CATEGORIES, core50_source_split, sbd_split
from patchline_ros.datasets.reading import Classes, Job, Labelled, Pictures, Samples
from patchline_ros.datasets.sbd import Sbd
from patchline_ros.datasets.voc import DAWN_CLASSES, VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.sim import LANE_CLASSES as SIM_LANE_CLASSES
from patchline_ros.sim import OBJECT_CLASSES as SIM_OBJECT_CLASSES
from patchline_ros.sim import SIGN_CLASSES as SIM_SIGN_CLASSES
from patchline_ros.sim import RoadSimulator
from patchline_ros.tasks import Task

SIM_TRAINING_SEEDS = range(1000, 1016)
"""Worlds that the shipped models know; a drive in the demo is through another one."""
SIM_HELD_OUT_SEEDS = range(2000, 2004)
SIM_STRIDE = 7
"""Frames between two that are taken."""
SIM_TRAINING_FRAMES, SIM_HELD_OUT_FRAMES = 40, 20
"""Frames that are taken of each world."""
GTSRB_TRAINING_SHARE = 0.7
GTSRB_SPLIT_SEED = 0
STRETCH, STRETCH_TRAINED = 50, 40
"""Pictures of a stretch, and how many of them are to train on; the others are held out."""

ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Draw:
    """The pictures of a source, not yet read."""

    classes: Classes
    train: Iterable[Job[Samples]]
    held_out: Iterable[Job[Samples]]


def held_out_indices(count: int) -> list[int]:
    """The last ten of each fifty frames: stretches of road, so that neighbours stay together."""
    return [i for i in range(count) if i % STRETCH >= STRETCH_TRAINED]


class Source(StrictModel, ABC):
    """Base of all of them. Paths that are not absolute are below the folder of all data."""

    per_task: ClassVar[bool] = False
    """Whether the pictures of one task are not those of another."""
    set: str

    @abstractmethod
    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures.

        Args:
            task: that they are for; only sets whose pictures differ by task look at it.
            data: the folder that holds the data sets, None where the user named none.

        Raises:
            ValueError: a folder is missing or broken; the message says what belongs there.
            ModuleNotFoundError: a bag can't be read without the package rosbags.
        """

    def place(self, data: Path | None, path: Path) -> Path:
        """Path of something of the set. Raises ValueError where it is not there."""
        return folder_of(data, path, CATALOGUE[self.set].to_get)


def _all(pictures: Labelled) -> Iterable[Job[Samples]]:
    return pictures.jobs(range(len(pictures.names)))


def _stretches(pictures: Labelled) -> Draw:
    """Held out is the end of each stretch of the pictures in their order."""
    held_out = held_out_indices(len(pictures.names))
    if not held_out:
        raise ValueError(
            f"{len(pictures.names)} pictures are too few to hold some out: it takes more than "
            f"{STRETCH_TRAINED}, or name others as validation"
        )
    others = sorted({*range(len(pictures.names))} - {*held_out})
    return Draw(pictures.classes, pictures.jobs(others), pictures.jobs(held_out))


def _validated(pictures: Labelled, validation: Labelled) -> Draw:
    """Held out is the set's own validation split."""
    return Draw(pictures.classes, _all(pictures), _all(validation))


class SimSource(Source):
    """Clear frames of the simulated road: 640 to train on, 80 held out, from other worlds."""

    set: Literal["sim"] = "sim"

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Frames are painted when they are read; `data` is not needed."""
        classes = {
            Task.CLASSIFICATION: SIM_SIGN_CLASSES,
            Task.DETECTION: SIM_OBJECT_CLASSES,
            Task.SEGMENTATION: SIM_LANE_CLASSES,
        }
        return Draw(
            classes,
            _sim_jobs(SIM_TRAINING_SEEDS, SIM_TRAINING_FRAMES),
            _sim_jobs(SIM_HELD_OUT_SEEDS, SIM_HELD_OUT_FRAMES),
        )


def _sim_jobs(seeds: Iterable[int], frames: int) -> Iterable[Job[Samples]]:
    for drive in (RoadSimulator(seed) for seed in seeds):
        for i in range(0, frames * SIM_STRIDE, SIM_STRIDE):
            yield drive.name(i), partial(_painted, drive, i)


def _painted(drive: RoadSimulator, index: int) -> Samples:
    return drive.frame(index).samples


class CamVidSource(Source):
    """One drive of CamVid; held out are stretches of it."""

    set: Literal["camvid"] = "camvid"
    folder: Path = Path("camvid/day")

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for detection and segmentation."""
        drive = CamVid(self.place(data, self.folder))
        return _stretches(Pictures.of_frames(camvid.TASK_CLASSES, drive))


class GtsrbSource(Source):
    """GTSRB: of each class 70% of the tracks are to train on, and the other signs held out."""

    set: Literal["gtsrb"] = "gtsrb"
    folder: Path = Path("gtsrb")

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for classification."""
        signs = Gtsrb(self.place(data, self.folder))
        train, held_out = signs.split_by_track(GTSRB_TRAINING_SHARE, GTSRB_SPLIT_SEED)
        pictures = Pictures.of_samples(Task.CLASSIFICATION, SIGN_CLASSES, signs)
        return Draw(
            pictures.classes, pictures.jobs(train.tolist()), pictures.jobs(held_out.tolist())
        )


class Core50Source(Source):
    """CORe50's source pictures, as datasets/paper_splits.py draws them."""

    set: Literal["core50"] = "core50"
    folder: Path = Path("core50")

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for all three tasks; for segmentation only where there are masks."""
        pictures = Core50(self.place(data, self.folder), CORE50_CATEGORIES)
        train, held_out = (
            _all(Pictures.of_frames(pictures.classes, pictures.frames(shots)))
            for shots in core50_source_split(pictures)
        )
        return Draw(pictures.classes, train, held_out)


class SbdSource(Source):
    """SBD+'s source pictures, as datasets/paper_splits.py draws them."""

    set: Literal["sbd"] = "sbd"
    folder: Path = Path()
    """Folder that holds sbd and VOCdevkit."""

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for all three tasks."""
        frames = Sbd(self.place(data, self.folder))
        parts = sbd_split(frames)
        pictures = Pictures.of_frames(sbd.TASK_CLASSES, frames)
        return Draw(pictures.classes, pictures.jobs(parts.train), pictures.jobs(parts.held_out))


class AcdcSource(Source):
    """One condition of ACDC; held out is its validation split."""

    set: Literal["acdc"] = "acdc"
    folder: Path = Path("acdc")
    condition: Condition = "fog"

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for detection and segmentation."""
        folder = self.place(data, self.folder)
        train, held_out = (
            _all(Pictures.of_frames(acdc.TASK_CLASSES, Acdc(folder, self.condition, split)))
            for split in acdc.SPLITS
        )
        return Draw(acdc.TASK_CLASSES, train, held_out)


class DawnSource(Source):
    """One weather of DAWN; held out are stretches of it."""

    set: Literal["dawn"] = "dawn"
    folder: Path = Path("dawn_fog")

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for detection."""
        frames = VocFolder(self.place(data, self.folder), DAWN_CLASSES)
        return _stretches(Pictures.of_samples(Task.DETECTION, DAWN_CLASSES, frames))


class _OwnFolder(Source):
    """A folder of the user's own pictures, and perhaps another one of its layout to validate on."""

    layout: ClassVar[type[PairedFolder]]
    folder: Path
    validation: Path | None = None
    """Folder of pictures to hold out; None: stretches of `folder` are held out."""
    classes: ClassNames
    """Names of the class ids from 0 on."""

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures; `task` is the one of the layout."""

        def pictures(path: Path) -> Pictures:
            samples = self.layout(self.place(data, path), self.classes)
            return Pictures.of_samples(self.layout.task, self.classes, samples)

        if self.validation is None:
            return _stretches(pictures(self.folder))
        return _validated(pictures(self.folder), pictures(self.validation))


class YoloSource(_OwnFolder):
    """Detection: a folder with images and labels (YOLO's text)."""

    layout = YoloFolder
    set: Literal["yolo"] = "yolo"


class VocSource(_OwnFolder):
    """Detection: a folder with images and annotations (PASCAL VOC's XML)."""

    layout = VocFolder
    set: Literal["voc"] = "voc"


class MasksSource(_OwnFolder):
    """Segmentation: a folder with images and masks (PNG of class ids)."""

    layout = MaskFolder
    set: Literal["masks"] = "masks"


class CocoPart(StrictModel):
    """Pictures, and the JSON file with their boxes."""

    images: Path
    annotations: Path


class CocoSource(CocoPart, Source):
    """Detection: a folder of pictures and a file of COCO's detection format."""

    set: Literal["coco"] = "coco"
    validation: CocoPart | None = None
    """Pictures to hold out; None: stretches of the others are held out."""
    classes: ClassNames
    """Names of the categories to detect."""

    def draw(self, task: Task, data: Path | None) -> Draw:
        """Lists the pictures for detection."""

        def pictures(part: CocoPart) -> Pictures:
            samples = CocoFolder(
                self.place(data, part.images), self.place(data, part.annotations), self.classes
            )
            return Pictures.of_samples(Task.DETECTION, self.classes, samples)

        if self.validation is None:
            return _stretches(pictures(self))
        return _validated(pictures(self), pictures(self.validation))


class BagSource(Source):
    """Labelled frames of any task in a ROS 2 bag."""

    per_task: ClassVar[bool] = True
    set: Literal["bag"] = "bag"
    bag: Path
    validation: Path | None = None
    """Bag to hold out; None: stretches of `bag` are held out."""
    topic: str | None = None
    """Topic of the labelled frames; None: the first that has some."""
    classes: ClassNames
    """Names of the class ids from 0 on."""

    def draw(self, task: Task, data: Path | None) -> Draw:
        """The frames that are labelled for the task."""

        def pictures(bag: Path) -> Labelled:
            return LabelledBag(self.place(data, bag), self.topic).pictures(task, self.classes)

        if self.validation is None:
            return _stretches(pictures(self.bag))
        return _validated(pictures(self.bag), pictures(self.validation))


SourceConfig: TypeAlias = Annotated[
    SimSource
    | CamVidSource
    | GtsrbSource
    | Core50Source
    | SbdSource
    | AcdcSource
    | DawnSource
    | YoloSource
    | VocSource
    | CocoSource
    | MasksSource
    | BagSource,
    Field(discriminator="set"),
]
"""Source of any kind; the key `set` tells which."""
