"""The scenes of the PatchLine paper, from the user's copies of its data sets.

The source pictures are drawn in datasets/paper_splits.py, those of the drift here. Copies with
fewer pictures than the paper used give smaller scenes, with a warning in the log. The paper's
350x350 pixels are 352x352 here, since the backbones shrink a picture 32 times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from patchline_ros.bench.scene import Scene, scenes_of_frames
from patchline_ros.datasets import sbd
from patchline_ros.datasets.acdc import TASK_CLASSES as ACDC_CLASSES
from patchline_ros.datasets.acdc import Acdc, Condition
from patchline_ros.datasets.catalogue import CATALOGUE, folder_of
from patchline_ros.datasets.core50 import Core50
from patchline_ros.datasets.paper_splits import (
    CORE50_CATEGORIES,
    CORE50_SOURCE,
    KNOWN_SESSIONS,
    KNOWN_THINGS,
    NEW_SESSIONS,
    NEW_THINGS,
    SBD_COUNTS,
    core50_source_split,
    core50_split,
    draw_sample,
    sbd_split,
)
from patchline_ros.datasets.sbd import Sbd
from patchline_ros.drift.corruptions import CORRUPTIONS, corrupt
from patchline_ros.tasks import Frame, Sample, Task

logger = logging.getLogger(__name__)

INPUT_SIZE = (352, 352)
_INPUT_SIZES = {task: INPUT_SIZE for task in Task}

CORE50_COUNTS = {"core50-nc": (144, 36), "core50-ni": (144, 30), "core50-nic": (144, 66)}
"""Pictures to adapt on and to test on (the paper's Table 3)."""

ACDC_DRIFTS: tuple[Condition, ...] = ("rain", "snow", "night")
ACDC_ADAPT, ACDC_TEST = 50, 10

SBD_SEVERITY = 0.5


def core50_nc(data: Path | None, seed: int) -> Scene:
    """CORe50, things of the known categories that the source has not seen, in known places.

    Classification, detection and, where there are masks, segmentation of 6 categories. Source:
    things 1 to 3 of each category in the 8 sessions that CORe50 trains on, drawn from the first
    five sixths of each video, held out from the last. Drift: things 4 and 5 in the same sessions.
    To adapt on is drawn from the first half of each video, to test on from the second, as many of
    each category; `seed` draws.
    """
    return _core50("core50-nc", data, seed, KNOWN_SESSIONS, NEW_THINGS)


def core50_ni(data: Path | None, seed: int) -> Scene:
    """CORe50, the source's things in three places that it has not seen (sessions 3, 7, 10).

    Otherwise as core50_nc.
    """
    return _core50("core50-ni", data, seed, NEW_SESSIONS, KNOWN_THINGS)


def core50_nic(data: Path | None, seed: int) -> Scene:
    """CORe50, things that the source has not seen, in places that it has not seen.

    Otherwise as core50_nc.
    """
    return _core50("core50-nic", data, seed, NEW_SESSIONS, NEW_THINGS)


def _core50(
    name: str,
    data: Path | None,
    seed: int,
    sessions: tuple[int, ...],
    things: tuple[int, ...],
) -> Scene:
    pictures = Core50(folder_of(data, "core50", CATALOGUE["core50"].to_get), CORE50_CATEGORIES)
    train, held_out = core50_source_split(pictures)
    adapt, test = core50_split(pictures, sessions, things, 1 / 2, CORE50_COUNTS[name], seed)
    _warn_if_smaller(name, (train, held_out, adapt, test), CORE50_SOURCE + CORE50_COUNTS[name])
    return Scene(
        name,
        scenes_of_frames(
            pictures.classes,
            _INPUT_SIZES,
            source_train=pictures.frames(train),
            source_held_out=pictures.frames(held_out),
            adapt=pictures.frames(adapt),
            test=pictures.frames(test),
        ),
    )


def acdc(condition: Condition, data: Path | None, seed: int) -> Scene:
    """ACDC, fog -> another condition, the paper's car: 50 pictures to adapt on, 10 to test on.

    Detection (8 classes) and segmentation (19 classes); ACDC has no label for a classifier.
    Source: all 400 pictures in fog to train on, the 100 for validation held out. Drift: drawn by
    `seed` from the other condition's pictures to train on, and for validation.
    """
    folder = folder_of(data, "acdc", CATALOGUE["acdc"].to_get)
    train, held_out = Acdc(folder, "fog", "train"), Acdc(folder, "fog", "val")
    drift, other = Acdc(folder, condition, "train"), Acdc(folder, condition, "val")
    rng = np.random.default_rng(seed)
    adapt = draw_sample(range(len(drift)), ACDC_ADAPT, rng)
    test = draw_sample(range(len(other)), ACDC_TEST, rng)
    name = f"acdc-{condition}"
    _warn_if_smaller(name, (train, held_out, adapt, test), (400, 100, ACDC_ADAPT, ACDC_TEST))
    return Scene(
        name,
        scenes_of_frames(
            ACDC_CLASSES,
            _INPUT_SIZES,
            source_train=train,
            source_held_out=held_out,
            adapt=(drift[i] for i in adapt),
            test=(other[i] for i in test),
        ),
    )


def sbd_plus(data: Path | None, seed: int) -> Scene:
    """SBD with VOC 2012, clear -> corrupted: classification, detection and segmentation.

    11391 pictures are drawn of those that have a class map, 40% of them for the source and 60% for
    the drift, to adapt on and to test on: all the same for every seed, so that what is tuned with
    one seed has not seen what another one is tested on. Each picture of the drift gets one of
    CORRUPTIONS, at the same severity; `seed` draws which.
    All pictures together take 4.2 GB of memory.
    """
    to_get = CATALOGUE["sbd"].to_get
    folder_of(data, "VOCdevkit/VOC2012", to_get)
    pictures = Sbd(folder_of(data, "sbd", to_get).parent)
    parts = sbd_split(pictures)
    _warn_if_smaller("sbd-plus", parts, SBD_COUNTS)
    return Scene(
        "sbd-plus",
        scenes_of_frames(
            sbd.TASK_CLASSES,
            _INPUT_SIZES,
            source_train=(pictures[i] for i in parts.train),
            source_held_out=(pictures[i] for i in parts.held_out),
            adapt=_corrupted(pictures, parts.adapt, seed),
            test=_corrupted(pictures, parts.test, seed),
        ),
    )


def _corrupted(pictures: Sbd, indices: Iterable[int], seed: int) -> Iterator[Frame]:
    for index in indices:
        frame = pictures[index]
        rng = np.random.default_rng([seed, index])
        image = corrupt(frame.image, str(rng.choice(CORRUPTIONS)), SBD_SEVERITY, rng)
        samples = {task: Sample(image, sample.label) for task, sample in frame.samples.items()}
        yield Frame(frame.name, image, samples)


def _warn_if_smaller(name: str, parts: Sequence[Sequence[object]], paper: Sequence[int]) -> None:
    counts = tuple(len(part) for part in parts)
    if counts != tuple(paper):
        logger.warning(
            "%s has %s pictures (source, held out, adapt, test); the paper's had %s",
            name,
            " + ".join(map(str, counts)),
            " + ".join(map(str, paper)),
        )
