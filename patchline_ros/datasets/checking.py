"""What there is of a data set in a folder, and what is missing or broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from patchline_ros.datasets import acdc, camvid, gtsrb, sbd
from patchline_ros.datasets.acdc import Acdc
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.datasets.catalogue import Entry
from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.datasets.core50 import Core50, Shot
from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.datasets.gtsrb import Gtsrb
from patchline_ros.datasets.labelled_bag import LabelledBag
from patchline_ros.datasets.layouts import coco_parts, splits_of
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.paper_splits import (
    CORE50_CATEGORIES,
    KNOWN_SESSIONS,
    KNOWN_THINGS,
    NEW_SESSIONS,
    NEW_THINGS,
    core50_things,
    sbd_split,
)
from patchline_ros.datasets.picture_files import LABEL_SUFFIXES
from patchline_ros.datasets.reading import Classes, Labelled, Pictures, Samples, read_all
from patchline_ros.datasets.sbd import Sbd
from patchline_ros.datasets.voc import DAWN_CLASSES, VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.tasks import IGNORE, Boxes, Task

Found = Counter[tuple[Task, str]]
"""Counts by task and class: pictures of it (classification), boxes (detection), or pictures that
show it (segmentation)."""
Missing = list[str]


@dataclass(frozen=True)
class PartReport:
    """One split, drift or drive of a set."""

    name: str
    pictures: int = 0
    """Pictures that are listed, broken ones included."""
    found: Found = field(default_factory=Counter)
    """Empty where only names were looked at."""
    missing: Missing = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """A sentence for each picture or label that can't be read."""


@dataclass(frozen=True)
class _Part:
    name: str
    open: Callable[[], tuple[Labelled, Missing]]


def check_set(
    entry: Entry, folder: Path, classes: tuple[str, ...] | None, quick: bool, workers: int
) -> Iterator[PartReport]:
    """Looks through a folder, part by part.

    Args:
        entry: which set it should be.
        folder: as the entry's layout says.
        classes: names of the ids, for sets that don't hold them.
        quick: only looks at the names of files, and opens none of the pictures.
        workers: threads that open them.

    Raises:
        ValueError: there is no such folder, or the classes have to be named.
    """
    if not folder.exists():
        raise ValueError(f"there is no folder {folder}: put there {entry.to_get}")
    if entry.needs_classes and not classes:
        raise ValueError(
            f"the files of {entry.name} don't name their classes: name them with --classes, in the "
            "order of their ids"
        )
    for part in _PARTS[entry.name](folder, classes):
        try:
            pictures, missing = part.open()
        except ValueError as error:
            yield PartReport(part.name, missing=[str(error)])
            continue
        count = len(pictures.names)
        if quick:
            yield PartReport(part.name, count, missing=missing)
            continue
        jobs = pictures.jobs(range(count))
        read = read_all(
            ((name, partial(_summary, samples, pictures.classes)) for name, samples in jobs),
            workers,
        )
        found: Found = Counter()
        for one in read.items:
            found.update(one)
        yield PartReport(part.name, count, found, missing, read.broken)


def _summary(read: Callable[[], Samples], classes: Classes) -> Found:
    found: Found = Counter()
    for task, sample in read().items():
        label = sample.label
        if isinstance(label, Boxes):
            ids = label.labels
        elif isinstance(label, np.ndarray):
            ids = np.unique(label[label != IGNORE])
        else:
            ids = np.array([label])
        found.update((task, classes[task][int(number)]) for number in ids)
    return found


def _core50(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    def part(name: str, sessions: Sequence[int], places: Sequence[int]) -> _Part:
        return _Part(name, lambda: _core50_videos(folder, sessions, places))

    return [
        part("source", KNOWN_SESSIONS, KNOWN_THINGS),
        part("NC", KNOWN_SESSIONS, NEW_THINGS),
        part("NI", NEW_SESSIONS, KNOWN_THINGS),
        part("NIC", NEW_SESSIONS, NEW_THINGS),
    ]


def _core50_videos(
    folder: Path, sessions: Sequence[int], places: Sequence[int]
) -> tuple[Labelled, Missing]:
    pictures = Core50(folder, CORE50_CATEGORIES)
    shots: list[Shot] = []
    lacking: list[str] = []
    missing: Missing = []
    videos = [(s, t) for s in sessions for things in core50_things(places).values() for t in things]
    for session, thing in videos:
        if not pictures.has_video(session, thing):
            lacking.append(f"s{session}/o{thing}")
            continue
        try:
            shots.extend(pictures.video(session, thing))
        except ValueError as error:
            missing.append(str(error))
    if lacking:
        missing.append(f"{len(lacking)} of {len(videos)} videos, such as {', '.join(lacking[:5])}")
    if Task.SEGMENTATION not in pictures.classes:
        missing.append(f"the folder {folder / 'masks'}, so there is no segmentation task")
    return Pictures.of_frames(pictures.classes, pictures.frames(shots)), missing


def _sbd(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    @cache
    def pictures() -> Sbd:
        return Sbd(folder)

    def part(name: str, place: int) -> _Part:
        def opened() -> tuple[Labelled, Missing]:
            own = sbd_split(pictures())[place]
            names = [pictures().names[i] for i in own]
            return Pictures(sbd.TASK_CLASSES, names, lambda i: pictures()[own[i]].samples), []

        return _Part(name, opened)

    names = "source, to train on", "source, held out", "drift, to adapt on", "drift, to test on"
    return [part(name, place) for place, name in enumerate(names)]


def _acdc(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    def part(condition: acdc.Condition, split: acdc.Split) -> _Part:
        return _Part(
            f"{condition}, {split}",
            lambda: (
                Pictures.of_frames(acdc.TASK_CLASSES, Acdc(folder, condition, split)),
                [],
            ),
        )

    return [part(condition, split) for condition in acdc.CONDITIONS for split in acdc.SPLITS]


def _camvid(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    def part(name: str, drive: Path) -> _Part:
        return _Part(name, lambda: (Pictures.of_frames(camvid.TASK_CLASSES, CamVid(drive)), []))

    return [part(name, drive) for name, drive in splits_of(folder, LABEL_SUFFIXES).items()]


def _gtsrb(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    def opened() -> tuple[Labelled, Missing]:
        signs = Gtsrb(folder)
        there = set(signs.labels.tolist())
        lacking = [f"{i:02d}" for i in range(len(gtsrb.SIGN_CLASSES)) if i not in there]
        missing = [f"pictures of the classes {', '.join(lacking)}"] if lacking else []
        return Pictures.of_samples(Task.CLASSIFICATION, gtsrb.SIGN_CLASSES, signs), missing

    return [_Part("all", opened)]


def _dawn(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    return _paired(VocFolder, folder, DAWN_CLASSES)


def _paired(kind: type[PairedFolder], folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    """Pictures with a label file each, in splits or not."""

    def part(name: str, split: Path) -> _Part:
        def opened() -> tuple[Labelled, Missing]:
            samples = kind(split, classes or ())
            return Pictures.of_samples(kind.task, samples.classes, samples), []

        return _Part(name, opened)

    return [part(name, split) for name, split in splits_of(folder, kind.suffixes).items()]


def _coco(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    def part(name: str, images: Path, annotations: Path) -> _Part:
        def opened() -> tuple[Labelled, Missing]:
            pictures = CocoFolder(images, annotations, classes)
            lacking = [name for name in pictures.names if not pictures.path(name).is_file()]
            missing = [f"{len(lacking)} pictures, such as {lacking[0]}"] if lacking else []
            return Pictures.of_samples(Task.DETECTION, pictures.classes, pictures), missing

        return _Part(name, opened)

    return [part(name, *places) for name, places in coco_parts(folder).items()]


def _bag(folder: Path, classes: tuple[str, ...] | None) -> list[_Part]:
    bag = LabelledBag(folder)

    def part(task: Task) -> _Part:
        return _Part(str(task), lambda: (bag.pictures(task, classes), []))

    return [part(task) for task in bag.names]


_PARTS: dict[str, Callable[[Path, tuple[str, ...] | None], list[_Part]]] = {
    "core50": _core50,
    "sbd": _sbd,
    "acdc": _acdc,
    "camvid": _camvid,
    "gtsrb": _gtsrb,
    "dawn": _dawn,
    "yolo": partial(_paired, YoloFolder),
    "voc": partial(_paired, VocFolder),
    "coco": _coco,
    "masks": partial(_paired, MaskFolder),
    "bag": _bag,
}
