"""CamVid (Brostow et al. 2009): drives with a class for every pixel, for two tasks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import (
    LABEL_SUFFIXES,
    paired_by_stem,
    read_class_map,
    read_rgb,
)
from patchline_ros.tasks import IGNORE, Boxes, ClassMap, Frame, Sample, Task

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
    "unlabelled",
)
"""What the ids 0 to 11 of a CamVid label map mean."""

LANE_CLASSES = ("sky", "building", "road", "pavement", "tree", "car")
"""Classes for segmentation; fences count as building, all other CamVid classes as IGNORE."""

OBJECT_CLASSES = ("car", "pedestrian", "bicyclist")
"""Classes of the objects task."""

TASK_CLASSES = {Task.DETECTION: OBJECT_CLASSES, Task.SEGMENTATION: LANE_CLASSES}

_LANE_SOURCES = {"fence": "building"} | {name: name for name in LANE_CLASSES}
_LANE_OF_CAMVID = np.full(256, IGNORE, dtype=np.uint8)
for _name, _source in _LANE_SOURCES.items():
    _LANE_OF_CAMVID[CAMVID_CLASSES.index(_name)] = LANE_CLASSES.index(_source)


def lanes_of(camvid_ids: ClassMap) -> ClassMap:
    """CamVid ids as ids of LANE_CLASSES; poles, signs, people and unlabelled are IGNORE."""
    return np.asarray(_LANE_OF_CAMVID[camvid_ids], dtype=np.uint8)


def objects_of(camvid_ids: ClassMap, min_area: int = 100) -> Boxes:
    """Boxes over OBJECT_CLASSES around the 8-connected regions of a CamVid label map.

    Objects of one class that touch in the picture merge into one box, and an object that a pole
    cuts in two gives two: CamVid labels classes, not instances. Regions of fewer than `min_area`
    pixels (the default is for 480x360) are dropped; they are specks of the labelling and objects
    too far away to tell. x2 and y2 are one past the last pixel of the region.
    """
    boxes: list[list[int]] = []
    labels: list[int] = []
    for label, name in enumerate(OBJECT_CLASSES):
        region = (camvid_ids == CAMVID_CLASSES.index(name)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
        for x, y, width, height, area in stats[1:].tolist():
            if area >= min_area:
                boxes.append([x, y, x + width, y + height])
                labels.append(label)
    return Boxes.truth(boxes, labels)


class CamVid(FileSet[Frame]):
    """A folder `images/*.jpg|png` with `labels/<same stem>.png`, in order of time.

    The order is by sequence, then frame number, which CamVid's file names hold. Pictures are read
    when they are asked for; every frame has a sample for segmentation and one for detection, which
    share its picture.
    Raises ValueError where a folder is missing or the files do not pair.
    """

    def __init__(self, directory: Path, *, min_area: int = 100) -> None:
        """List and pair the files by name, without reading them; `min_area` as in objects_of."""
        self._files = paired_by_stem(
            directory / "images", directory / "labels", LABEL_SUFFIXES, "label map"
        )
        self._min_area = min_area
        self.names: tuple[str, ...] = tuple(self._files)

    def read(self, index: int) -> Frame:
        """Read one frame.

        Raises ValueError naming the file where a picture or label map cannot be decoded, their
        sizes differ, or the label map holds an id that CamVid does not have.
        """
        name = self.names[index]
        picture, label_map = self._files[name]
        image = read_rgb(picture)
        ids = read_class_map(label_map, image, len(CAMVID_CLASSES))
        return Frame(
            name=name,
            image=image,
            samples={
                Task.SEGMENTATION: Sample(image, lanes_of(ids)),
                Task.DETECTION: Sample(image, objects_of(ids, self._min_area)),
            },
        )
