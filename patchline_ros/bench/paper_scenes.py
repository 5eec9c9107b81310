"""The scenes of the PatchLine paper, from the user's copies of its data sets.

The paper gives counts and names sets; which pictures it drew, and which of the classes, it does not
say. Each loader states what is drawn here. Copies with fewer pictures than the paper used give
smaller scenes, with a warning in the log. The paper's 350x350 pixels are 352x352 here, since the
backbones shrink a picture 32 times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np

from patchline_ros.bench.scene import Scene, folder_of, scenes_of_frames
from patchline_ros.datasets import acdc, core50, sbd
from patchline_ros.datasets.acdc import Acdc
from patchline_ros.datasets.core50 import Core50, Shot
from patchline_ros.datasets.sbd import Sbd
from patchline_ros.drift.corruptions import CORRUPTIONS, corrupt
from patchline_ros.tasks import Frame, Sample, Task

logger = logging.getLogger(__name__)

INPUT_SIZE = (352, 352)
_INPUT_SIZES = {task: INPUT_SIZE for task in Task}

SOURCE_SEED = 0
"""Draws the source pictures, whatever the seed of the drift."""

CORE50_CATEGORIES = core50.CATEGORIES[:6]
"""The paper has 6 of the 10 and does not say which; these are the first."""
CORE50_COUNTS = {
    "source": (1800, 120),
    "core50-nc": (144, 36),
    "core50-ni": (144, 30),
    "core50-nic": (144, 66),
}
"""Pictures to train or adapt on, and held out or to test on (the paper's Table 3)."""

KNOWN_SESSIONS, NEW_SESSIONS = (1, 2, 4, 5, 6, 8, 9, 11), (3, 7, 10)
"""CORe50's own split into sessions to train on and to test on."""
KNOWN_THINGS, NEW_THINGS = (0, 1, 2), (3, 4)
"""Places of the things among the five of their category."""

ACDC_ADAPT, ACDC_TEST = 50, 10

SBD_COUNTS = (3644, 912, 5469, 1366)
"""Source to train on and held out, drift to adapt on and to test on: 11391 pictures."""
SBD_SEVERITY = 0.5

_CORE50 = (
    "CORe50's archives core50_350x350 and bbox, and the folder masks for the lanes task "
    "(vlomonaco.github.io/core50, CC BY 4.0)"
)
_ACDC = (
    "ACDC's folders rgb_anon, gt and gt_detection "
    "(acdc.vision.ee.ethz.ch, after registration, for non-commercial use)"
)
_SBD = (
    "the folder cls of SBD's benchmark_RELEASE/dataset "
    "(www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours)"
)
_VOC = "PASCAL VOC 2012's trainval archive (host.robots.ox.ac.uk/pascal/VOC/voc2012)"

_Item = TypeVar("_Item")


def core50_nc(data: Path | None, seed: int) -> Scene:
    """CORe50, things of the known categories that the source has not seen, in known places.

    Classification (signs), detection and, where there are masks, segmentation (lanes) of 6
    categories. Source: things 1 to 3 of each category in the 8 sessions that CORe50 trains on,
    drawn from the first five sixths of each video, held out from the last. Drift: things 4 and 5 in
    the same sessions. To adapt on is drawn from the first half of each video, to test on from the
    second, as many of each category; `seed` draws.
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
    pictures = Core50(folder_of(data, "core50", _CORE50), CORE50_CATEGORIES)
    train, held_out = _core50_draw(
        pictures, KNOWN_SESSIONS, KNOWN_THINGS, 5 / 6, CORE50_COUNTS["source"], SOURCE_SEED
    )
    adapt, test = _core50_draw(pictures, sessions, things, 1 / 2, CORE50_COUNTS[name], seed)
    _warn_if_smaller(
        name, (train, held_out, adapt, test), CORE50_COUNTS["source"] + CORE50_COUNTS[name]
    )
    return Scene(
        name,
        scenes_of_frames(
            pictures.classes,
            _INPUT_SIZES,
            source_train=(pictures.frame(shot) for shot in train),
            source_held_out=(pictures.frame(shot) for shot in held_out),
            adapt=(pictures.frame(shot) for shot in adapt),
            test=(pictures.frame(shot) for shot in test),
        ),
    )


def _core50_draw(
    pictures: Core50,
    sessions: tuple[int, ...],
    things: tuple[int, ...],
    share: float,
    counts: tuple[int, int],
    seed: int,
) -> tuple[list[Shot], list[Shot]]:
    """Shots of the first `share` of each video, and of the rest; equally many of each category."""
    rng = np.random.default_rng(seed)
    drawn: tuple[list[Shot], list[Shot]] = [], []
    for category in CORE50_CATEGORIES:
        first = 1 + core50.THINGS_PER_CATEGORY * core50.CATEGORIES.index(category)
        pools: tuple[list[Shot], list[Shot]] = [], []
        for session in sessions:
            for thing in things:
                video = pictures.video(session, first + thing)
                cut = round(share * len(video))
                pools[0].extend(video[:cut])
                pools[1].extend(video[cut:])
        for shots, pool, count in zip(drawn, pools, counts, strict=True):
            shots.extend(_drawn(pool, count // len(CORE50_CATEGORIES), rng))
    return sorted(drawn[0]), sorted(drawn[1])


def acdc_rain(data: Path | None, seed: int) -> Scene:
    """ACDC, fog -> rain, the paper's car: 50 pictures to adapt on, 10 to test on.

    Detection (8 classes) and segmentation (lanes, 19 classes); ACDC has no label for a classifier.
    Source: all 400 pictures in fog to train on, the 100 for validation held out. Drift: drawn by
    `seed` from the other condition's pictures to train on, and for validation.
    """
    return _acdc("rain", data, seed)


def acdc_snow(data: Path | None, seed: int) -> Scene:
    """ACDC, fog -> snow; otherwise as acdc_rain."""
    return _acdc("snow", data, seed)


def acdc_night(data: Path | None, seed: int) -> Scene:
    """ACDC, fog -> night; otherwise as acdc_rain."""
    return _acdc("night", data, seed)


def _acdc(condition: str, data: Path | None, seed: int) -> Scene:
    folder = folder_of(data, "acdc", _ACDC)
    train, held_out = Acdc(folder, "fog", "train"), Acdc(folder, "fog", "val")
    drift, other = Acdc(folder, condition, "train"), Acdc(folder, condition, "val")
    rng = np.random.default_rng(seed)
    adapt = _drawn(range(len(drift)), ACDC_ADAPT, rng)
    test = _drawn(range(len(other)), ACDC_TEST, rng)
    name = f"acdc-{condition}"
    _warn_if_smaller(name, (train, held_out, adapt, test), (400, 100, ACDC_ADAPT, ACDC_TEST))
    return Scene(
        name,
        scenes_of_frames(
            {Task.OBJECTS: acdc.OBJECT_CLASSES, Task.LANES: acdc.LANE_CLASSES},
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
    pictures = Sbd(folder_of(data, "sbd", _SBD), folder_of(data, "VOCdevkit/VOC2012", _VOC))
    total = sum(SBD_COUNTS)
    fewer = min(len(pictures), total) / total
    train, held_out, adapt, test = (int(count * fewer) for count in SBD_COUNTS)
    drawn = np.random.default_rng(SOURCE_SEED).permutation(len(pictures)).tolist()
    ends = accumulate((train, held_out, adapt, test))
    parts = [
        sorted(drawn[end - count : end])
        for end, count in zip(ends, (train, held_out, adapt, test), strict=True)
    ]
    _warn_if_smaller("sbd-plus", parts, SBD_COUNTS)
    return Scene(
        "sbd-plus",
        scenes_of_frames(
            {Task.SIGNS: sbd.CLASSES, Task.OBJECTS: sbd.CLASSES, Task.LANES: sbd.LANE_CLASSES},
            _INPUT_SIZES,
            source_train=(pictures[i] for i in parts[0]),
            source_held_out=(pictures[i] for i in parts[1]),
            adapt=_corrupted(pictures, parts[2], seed),
            test=_corrupted(pictures, parts[3], seed),
        ),
    )


def _corrupted(pictures: Sbd, indices: Iterable[int], seed: int) -> Iterator[Frame]:
    for index in indices:
        frame = pictures[index]
        rng = np.random.default_rng([seed, index])
        image = corrupt(frame.image, str(rng.choice(CORRUPTIONS)), SBD_SEVERITY, rng)
        samples = {task: Sample(image, sample.label) for task, sample in frame.samples.items()}
        yield Frame(frame.name, image, samples)


def _drawn(pool: Sequence[_Item], count: int, rng: np.random.Generator) -> list[_Item]:
    """`count` of the pool, or all of it where there are no more, in the pool's order."""
    chosen = rng.permutation(len(pool))[:count]
    return [pool[i] for i in sorted(chosen.tolist())]


def _warn_if_smaller(name: str, parts: Sequence[Sequence[object]], paper: Sequence[int]) -> None:
    counts = tuple(len(part) for part in parts)
    if counts != tuple(paper):
        logger.warning(
            "%s has %s pictures (source, held out, adapt, test); the paper's had %s",
            name,
            " + ".join(map(str, counts)),
            " + ".join(map(str, paper)),
        )
