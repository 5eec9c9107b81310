"""The scene `camvid-dusk`: a car's real drive by day, then at dusk, with signs made dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchline_ros.bench.scene import (
    BLOCK,
    Part,
    Scene,
    TaskScene,
    alternating_blocks,
    scenes_of_frames,
    task_scene,
)
from patchline_ros.datasets.camvid import LANE_CLASSES, OBJECT_CLASSES, CamVid
from patchline_ros.datasets.catalogue import CATALOGUE, folder_of
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.drift.corruptions import corrupt
from patchline_ros.offline.source_config import (
    GTSRB_SPLIT_SEED,
    GTSRB_TRAINING_SHARE,
    held_out_indices,
)
from patchline_ros.offline.sources import INPUT_SIZES
from patchline_ros.tasks import Sample, Task

SIGN_SEVERITY = 0.55
"""Severity of the corruption `night`. A MobileNetV2 from ImageNet weights, trained on the source,
knows 94% of the clear test pictures, 92% at a severity of 0.3, 87% at 0.4, 79% at 0.5, 74 to 76% at
this one (three seeds), 73% at 0.6, 62% at 0.7 and 33% at 1."""

Split = Callable[[int], tuple[list[int], list[int]]]
"""Which of so many frames are to adapt on, and which to test on."""

VIEWS = 2
"""Pictures of each sign that is collected to adapt on."""


def camvid_dusk(data: Path | None, seed: int) -> Scene:
    """CamVid, day -> dusk, for segmentation and detection; GTSRB, clear -> night, for signs.

    Roads: the source is that of `patchline offline` with the same data: all of CamVid's day but the
    last ten of each fifty frames, which are held out. The 62 dusk frames are one drive; blocks of 8
    frames in a row alternate, so that both parts see the whole drive: the blocks 0, 2, 4 and 6 (32
    frames) are to adapt on, 1, 3, 5 and 7 (30 frames) to test on.

    Signs: see sign_parts. `seed` draws the signs to adapt on; the roads are the same for every
    seed.

    Raises ValueError where a folder is missing or a file in it is broken.
    """
    return _camvid_dusk(data, seed, tuning=False)


def camvid_dusk_future(data: Path | None, seed: int) -> Scene:
    """The same with the roads split in time: the first half of the dusk drive is to adapt on, the
    second to test on, as on a road that was never driven before. Eight frames between the two are
    left out, since neighbours are near copies.
    """
    return _camvid_dusk(data, seed, tuning=False, split=_halves)


def _halves(count: int) -> tuple[list[int], list[int]]:
    """The frames of the first half of a drive, and those of the second without its beginning."""
    return list(range(count // 2)), list(range(count // 2 + BLOCK, count))


def camvid_dusk_to_tune(data: Path | None, seed: int) -> Scene:
    """The same with other signs to adapt on: none of them is a test picture of camvid_dusk,
    whatever its seed.
    """
    return _camvid_dusk(data, seed, tuning=True)


def _camvid_dusk(
    data: Path | None, seed: int, tuning: bool, split: Split = alternating_blocks
) -> Scene:
    roads = folder_of(data, "camvid", CATALOGUE["camvid"].to_get)
    signs = Gtsrb(folder_of(data, "gtsrb", CATALOGUE["gtsrb"].to_get))
    day, dusk = CamVid(roads / "day"), CamVid(roads / "dusk")
    held_out = held_out_indices(len(day))
    adapt, test = split(len(dusk))
    road = scenes_of_frames(
        {Task.DETECTION: OBJECT_CLASSES, Task.SEGMENTATION: LANE_CLASSES},
        INPUT_SIZES,
        source_train=(day[i] for i in range(len(day)) if i not in held_out),
        source_held_out=(day[i] for i in held_out),
        adapt=(dusk[i] for i in adapt),
        test=(dusk[i] for i in test),
    )
    name = "camvid-dusk" if split is alternating_blocks else "camvid-dusk-future"
    return Scene(name, {Task.CLASSIFICATION: _signs(signs, seed, tuning), **road})


def _signs(signs: Gtsrb, seed: int, tuning: bool) -> TaskScene:
    train, held_out = signs.split_by_track(GTSRB_TRAINING_SHARE, GTSRB_SPLIT_SEED)
    adapt, test = sign_parts(signs, train, held_out, seed, tuning)
    return task_scene(
        SIGN_CLASSES,
        INPUT_SIZES[Task.CLASSIFICATION],
        source_train=((signs.names[i], signs[i]) for i in train.tolist()),
        source_held_out=((signs.names[i], signs[i]) for i in held_out.tolist()),
        adapt=_at_night(signs, adapt),
        test=_at_night(signs, test),
    )


def sign_parts(
    signs: Gtsrb,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    seed: int,
    tuning: bool = False,
) -> tuple[list[int], list[int]]:
    """Which pictures are dark ones to adapt on, and which to test on.

    Of each class one track is collected, in its first and its last picture, in a random order of
    the tracks: 86 pictures of 43 classes. It is one that the source model was not trained on, where
    the class has two of those; where it has only one (19 classes), that one is for the test, and
    a track is collected that the source model knows by daylight. All pictures of all other tracks
    that the source model was not trained on are the test: no sign of it was ever seen in training.
    Their clear pictures are among the source's held-out ones.

    For `tuning` all tracks are collected among those that the source model knows: of the others
    each is tested on with some seed.
    """
    rng = np.random.default_rng(seed)
    collected: list[int] = []
    for label in np.unique(signs.labels):
        unseen = np.unique(signs.tracks[held_out][signs.labels[held_out] == label])
        known = np.unique(signs.tracks[train][signs.labels[train] == label])
        collected.append(int(rng.choice(unseen if len(unseen) > 1 and not tuning else known)))
    adapt: list[int] = []
    for track in rng.permutation(collected):
        pictures = np.flatnonzero(signs.tracks == track)
        views = np.linspace(0, len(pictures) - 1, VIEWS).round().astype(int)
        adapt.extend(pictures[np.unique(views)].tolist())
    test = held_out[~np.isin(signs.tracks[held_out], collected)]
    return adapt, test.tolist()


def _at_night(signs: Gtsrb, indices: Sequence[int]) -> Part:
    """Each picture with a noise of its own, which is the same wherever the picture is used."""
    for index in indices:
        sample = signs[index]
        image = corrupt(sample.image, "night", SIGN_SEVERITY, np.random.default_rng(index))
        yield signs.names[index], Sample(image, sample.label)
