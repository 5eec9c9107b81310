"""SBD (Hariharan et al. 2011) together with PASCAL VOC 2012, whose pictures it labels."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import (
    check_class_map,
    copies,
    pictures_by_stem,
    read_indexed,
    read_rgb,
)
from patchline_ros.datasets.voc import read_voc_boxes
from patchline_ros.tasks import Boxes, ClassMap, Frame, Sample, Task

logger = logging.getLogger(__name__)

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""VOC's 20 classes; in class maps they are 1 to 20."""

LANE_CLASSES = ("background", *CLASSES)

TASK_CLASSES = {
    Task.CLASSIFICATION: CLASSES,
    Task.DETECTION: CLASSES,
    Task.SEGMENTATION: LANE_CLASSES,
}


class Sbd(FileSet[Frame]):
    """All pictures that SBD or VOC 2012 have a class map for, sorted by name.

    Layout, as the archives unpack it:

        sbd/cls/NAME.mat                                SBD's class maps (benchmark_RELEASE/dataset)
        VOCdevkit/VOC2012/JPEGImages/NAME.jpg
        VOCdevkit/VOC2012/Annotations/NAME.xml
        VOCdevkit/VOC2012/SegmentationClass/NAME.png

    A picture that both have a class map for counts once, with VOC's map, which leaves contours open
    (IGNORE); of pictures with the same bytes under several names the first one counts, and a
    warning in the log names the others. Boxes are VOC's, difficult ones included. The class of a
    picture is that of its largest box, an approximation: many pictures show several. Pictures are
    read when they are asked for.
    Raises ValueError where a folder is missing.
    """

    def __init__(self, directory: Path) -> None:
        """List the names below the folder that holds both."""
        voc = directory / "VOCdevkit" / "VOC2012"
        self._voc = voc
        self._sbd_maps = pictures_by_stem(directory / "sbd" / "cls", (".mat",))
        self._voc_maps = pictures_by_stem(voc / "SegmentationClass", (".png",))
        for folder in (voc / "JPEGImages", voc / "Annotations"):
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}; unpack VOC 2012's archive there")
        names = sorted({*self._sbd_maps, *self._voc_maps})
        twice = copies({name: self._picture(name) for name in names})
        if twice:
            pairs = ", ".join(f"{name} = {first}" for name, first in twice.items())
            logger.warning(
                "left out %d of %d pictures, copies of others: %s", len(twice), len(names), pairs
            )
        self.names: tuple[str, ...] = tuple(name for name in names if name not in twice)

    def read(self, index: int) -> Frame:
        """Read one frame; ValueError names a file that cannot be read."""
        name = self.names[index]
        path = self._picture(name)
        if not path.is_file():
            raise ValueError(f"there is no picture {path}; unpack VOC 2012's archive again")
        image = read_rgb(path)
        annotation = self._voc / "Annotations" / f"{name}.xml"
        boxes = read_voc_boxes(annotation, image, CLASSES)
        if not len(boxes):
            raise ValueError(f"the annotation {annotation} holds no object")
        label_map = self._voc_maps.get(name)
        lanes = _read_mat(self._sbd_maps[name]) if label_map is None else read_indexed(label_map)
        check_class_map(lanes, image, len(LANE_CLASSES), label_map or self._sbd_maps[name])
        samples = {
            Task.CLASSIFICATION: Sample(image, _class_of(boxes)),
            Task.DETECTION: Sample(image, boxes),
            Task.SEGMENTATION: Sample(image, lanes),
        }
        return Frame(name, image, samples)

    def _picture(self, name: str) -> Path:
        return self._voc / "JPEGImages" / f"{name}.jpg"


def _class_of(boxes: Boxes) -> int:
    sides = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    return int(boxes.labels[sides.prod(axis=1).argmax()])


def _read_mat(path: Path) -> ClassMap:
    try:
        content = loadmat(path, variable_names=["GTcls"])
        return np.asarray(content["GTcls"]["Segmentation"][0, 0], dtype=np.uint8)
    except (MatReadError, NotImplementedError, OSError, zlib.error) as error:
        raise ValueError(f"cannot read {path} as a MATLAB file: {error}") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no class map GTcls.Segmentation: {error!r}") from error
