"""The scene `dawn-fog`: vehicles in clear weather, then on roads in real fog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imagehash
import numpy as np
import PIL.Image

from patchline_ros.bench.scene import Part, Scene, alternating_blocks, task_scene
from patchline_ros.datasets.catalogue import CATALOGUE, folder_of
from patchline_ros.datasets.voc import DAWN_CLASSES, VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.offline.sources import ROAD_SIZE
from patchline_ros.tasks import Boxes, Sample, Task
from patchline_ros.vision.inputs import resized

VEHICLE_CLASSES = ("ambulance", "bus", "car", "motorcycle", "truck")
"""Classes of the clear pictures, in the order of their ids."""

CLASSES = tuple(name for name in VEHICLE_CLASSES if name in DAWN_CLASSES)
"""What both have, and so the scene's classes: bus, car, motorcycle, truck."""

TRAINING_SHARE = 0.8
SPLIT_SEED = 0

COPY_DISTANCE = 4
"""Bits of 64 in which the perceptual hashes of two copies of a picture differ at most. Of DAWN's
pictures in fog ten pairs across the two parts differ in 0 or 2, all others in 10 or more."""

_VEHICLES = (
    "the vehicles of Open Images in YOLO's format, as folders images and labels, with the classes "
    "0 ambulance, 1 bus, 2 car, 3 motorcycle and 4 truck (public.roboflow.com, Vehicles-OpenImages)"
)


def dawn_fog(data: Path | None, seed: int) -> Scene:
    """Vehicles in clear weather -> DAWN's roads in fog; detection alone.

    Classes: those that both sets have. Boxes of the others (ambulances; persons and bicycles) are
    dropped, and so are clear pictures that show nothing else, since an ambulance that counts as
    background would teach that trucks do.
    Source: the export holds every picture twice, bit for bit, under two names that differ behind
    `.rf.`; one of each is used. 80% train, 20% are held out.
    Drift: the pictures in fog sorted by name, where neighbours can be of one road. Blocks of 8
    alternate: the even ones are to adapt on, the odd ones to test on. DAWN holds some pictures
    twice under names far apart; a test picture that is a copy of one to adapt on is left out.
    `seed` changes nothing.

    Raises ValueError where a folder is missing or a file in it is broken.
    """
    clear = YoloFolder(folder_of(data, "vehicles", _VEHICLES), VEHICLE_CLASSES)
    fog = VocFolder(folder_of(data, "dawn_fog", CATALOGUE["dawn"].to_get), DAWN_CLASSES)
    vehicles = _part(clear, _one_of_each(clear.names), clear.classes)
    source = [(name, sample) for name, sample in vehicles if len(_boxes(sample))]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(source))
    train = set(order[: round(TRAINING_SHARE * len(source))].tolist())
    adapt, test = (list(_part(fog, part, fog.classes)) for part in alternating_blocks(len(fog)))
    return Scene(
        "dawn-fog",
        {
            Task.DETECTION: task_scene(
                CLASSES,
                ROAD_SIZE,
                source_train=(source[i] for i in range(len(source)) if i in train),
                source_held_out=(source[i] for i in range(len(source)) if i not in train),
                adapt=adapt,
                test=_without_copies(test, adapt),
            )
        },
    )


def _one_of_each(names: Sequence[str]) -> list[int]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        first.setdefault(name.split(".rf.")[0], index)
    return list(first.values())


def _part(folder: YoloFolder | VocFolder, indices: Sequence[int], classes: tuple[str, ...]) -> Part:
    """Samples at the input size with the boxes of CLASSES alone, numbered as there."""
    numbers = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in classes])
    for index in indices:
        sample = folder[index]
        boxes = _boxes(sample)
        labels = numbers[boxes.labels]
        kept = Boxes.truth(boxes.boxes[labels >= 0], labels[labels >= 0])
        yield folder.names[index], resized(Sample(sample.image, kept), ROAD_SIZE)


def _without_copies(
    pictures: list[tuple[str, Sample]], others: list[tuple[str, Sample]]
) -> list[tuple[str, Sample]]:
    known = [_hash(sample) for _, sample in others]

    def is_copy(sample: Sample) -> bool:
        own = _hash(sample)
        return any(own - other <= COPY_DISTANCE for other in known)

    return [(name, sample) for name, sample in pictures if not is_copy(sample)]


def _hash(sample: Sample) -> imagehash.ImageHash:
    return imagehash.phash(PIL.Image.fromarray(sample.image))


def _boxes(sample: Sample) -> Boxes:
    assert isinstance(sample.label, Boxes)
    return sample.label
