"""The scenes `camvid-made-FAMILY`: a source by day and in clear weather, then a drift that is made.

They say what patches do in a drift that they were prepared without: the drift is made with one
family of corruptions, which a preparation can leave out (`PreparationSettings.leave_out`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from patchline_ros.bench.scene import Part, Scene, TaskScene, at_size, scenes_of_frames, task_scene
from patchline_ros.datasets.camvid import LANE_CLASSES, OBJECT_CLASSES, CamVid
from patchline_ros.datasets.catalogue import CATALOGUE, folder_of
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.drift.corruptions import Family, corrupt
from patchline_ros.offline.drifted import Drift
from patchline_ros.offline.source_config import (
    GTSRB_SPLIT_SEED,
    GTSRB_TRAINING_SHARE,
    STRETCH,
    held_out_indices,
)
from patchline_ros.offline.sources import INPUT_SIZES
from patchline_ros.tasks import Frame, Image, Sample, Task
from patchline_ros.vision.inputs import resized

MADE: Final[dict[Family, tuple[Drift, ...]]] = {
    "dark": (("dusk", 0.9), ("night", 0.8), ("twilight", 0.9)),
    "fog": (("fog", 0.9), ("haze", 0.9)),
    "rain": (("rain", 0.9),),
    "snow": (("snow", 0.9),),
    "blur": (("blur", 0.7),),
    "noise": (("noise", 0.35),),
    "contrast": (("contrast", 0.9),),
}
"""What the frames of each drift are made with, in turn. Strong ones: in each of them source models
from ImageNet weights lose on roads. No preparation trains, stops or fits its gate at these
severities unless its settings say so."""

_ROAD: Final = {Task.DETECTION: OBJECT_CLASSES, Task.SEGMENTATION: LANE_CLASSES}
_GROUP: Final = 4


def made_drift(family: Family, data: Path | None, seed: int) -> Scene:
    """CamVid's day and GTSRB -> the same under one family of corruptions; all three tasks.

    The source models are trained on what those of `camvid-dusk` are trained on. What is held out
    there is parted here, so that a preparation sees none of the drift's pictures: of each four
    stretches of ten frames, and of each four tracks of signs, the first is to adapt on, the second
    and the fourth are to test on, and the third stays the source's held-out part. Of a track to
    adapt on the first and the last picture are collected. The corruptions are made at the models'
    input size, as a preparation makes them. `seed` changes nothing.

    Raises ValueError where a folder is missing or a file in it is broken.
    """
    roads = folder_of(data, "camvid", CATALOGUE["camvid"].to_get)
    signs = Gtsrb(folder_of(data, "gtsrb", CATALOGUE["gtsrb"].to_get))
    tasks = {Task.CLASSIFICATION: _signs(signs, family), **_roads(CamVid(roads / "day"), family)}
    return Scene(f"camvid-made-{family}", tasks)


class _Parts(NamedTuple):
    """Which pictures that the source models were not trained on are for what."""

    held_out: list[int]
    adapt: list[int]
    test: list[int]


def _parted(stretches: Sequence[Sequence[int]]) -> _Parts:
    """Stretches stay whole, since the pictures of one are near copies."""
    parts = _Parts([], [], [])
    of_group = (parts.adapt, parts.test, parts.held_out, parts.test)
    for place, stretch in enumerate(stretches):
        of_group[place % _GROUP].extend(stretch)
    return parts


def _roads(day: CamVid, family: Family) -> dict[Task, TaskScene]:
    held_out = held_out_indices(len(day))
    stretches: dict[int, list[int]] = {}
    for index in held_out:
        stretches.setdefault(index // STRETCH, []).append(index)
    parts = _parted(list(stretches.values()))
    return scenes_of_frames(
        _ROAD,
        INPUT_SIZES,
        source_train=(day[i] for i in range(len(day)) if i not in held_out),
        source_held_out=(day[i] for i in parts.held_out),
        adapt=_made_frames(day, parts.adapt, family),
        test=_made_frames(day, parts.test, family),
    )


def _made_frames(day: CamVid, indices: Sequence[int], family: Family) -> Iterator[Frame]:
    sizes = {task: INPUT_SIZES[task] for task in _ROAD}
    for place, index in enumerate(indices):
        frame = at_size(day[index], sizes)
        image = _made(frame.image, family, place, index)
        samples = {task: Sample(image, sample.label) for task, sample in frame.samples.items()}
        yield Frame(frame.name, image, samples)


def _signs(signs: Gtsrb, family: Family) -> TaskScene:
    train, held_out = signs.split_by_track(GTSRB_TRAINING_SHARE, GTSRB_SPLIT_SEED)
    tracks = np.random.default_rng(GTSRB_SPLIT_SEED).permutation(np.unique(signs.tracks[held_out]))
    pictures = [np.flatnonzero(signs.tracks == track).tolist() for track in tracks]
    parts = _parted(pictures)
    ends = _parted([[track[0], track[-1]] for track in pictures])
    return task_scene(
        SIGN_CLASSES,
        INPUT_SIZES[Task.CLASSIFICATION],
        source_train=((signs.names[i], signs[i]) for i in train.tolist()),
        source_held_out=((signs.names[i], signs[i]) for i in parts.held_out),
        adapt=_made_signs(signs, ends.adapt, family),
        test=_made_signs(signs, parts.test, family),
    )


def _made_signs(signs: Gtsrb, indices: Sequence[int], family: Family) -> Part:
    for place, index in enumerate(indices):
        sample = resized(signs[index], INPUT_SIZES[Task.CLASSIFICATION])
        yield signs.names[index], Sample(_made(sample.image, family, place, index), sample.label)


def _made(image: Image, family: Family, place: int, index: int) -> Image:
    """The picture under the drift whose turn it is; `index` says its draws."""
    corruption, severity = MADE[family][place % len(MADE[family])]
    return corrupt(image, corruption, severity, np.random.default_rng(index))
