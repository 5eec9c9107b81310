"""SBD (Hariharan et al. 2011) together with PASCAL VOC 2012, whose pictures it labels."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import PIL.Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from patchline_ros.datasets.listed import Listed
from patchline_ros.datasets.pictures import pictures_by_stem, read_rgb
from patchline_ros.datasets.voc import read_voc_boxes
from patchline_ros.tasks import IGNORE, Boxes, ClassMap, Frame, Sample, Task

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


class Sbd(Listed[Frame]):
    """All pictures that SBD or VOC 2012 have a class map for, sorted by name.

    Layout, as the archives unpack it:

        sbd/cls/NAME.mat                                SBD's class maps (benchmark_RELEASE/dataset)
        VOCdevkit/VOC2012/JPEGImages/NAME.jpg
        VOCdevkit/VOC2012/Annotations/NAME.xml
        VOCdevkit/VOC2012/SegmentationClass/NAME.png

    SBD: www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours; VOC 2012:
    host.robots.ox.ac.uk/pascal/VOC/voc2012. The pictures are under Flickr's terms of use.
    Where both have a class map VOC's counts, which leaves contours open (IGNORE). Boxes are VOC's,
    difficult ones included. The class of a picture is that of its largest box, an approximation:
    many pictures show several. Pictures are read when they are asked for.
    Raises ValueError where a folder is missing.
    """

    def __init__(self, sbd: Path, voc: Path) -> None:
        """List the names; `sbd` is the folder that holds cls, `voc` is VOCdevkit/VOC2012."""
        self._voc = voc
        self._sbd_maps = pictures_by_stem(sbd / "cls", (".mat",))
        self._voc_maps = pictures_by_stem(voc / "SegmentationClass", (".png",))
        for folder in (voc / "JPEGImages", voc / "Annotations"):
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}; unpack VOC 2012's archive there")
        self.names: tuple[str, ...] = tuple(sorted({*self._sbd_maps, *self._voc_maps}))

    def read(self, index: int) -> Frame:
        """Read one frame; ValueError names a file that cannot be read."""
        name = self.names[index]
        path = self._voc / "JPEGImages" / f"{name}.jpg"
        if not path.is_file():
            raise ValueError(f"there is no picture {path}; unpack VOC 2012's archive again")
        image = read_rgb(path)
        annotation = self._voc / "Annotations" / f"{name}.xml"
        boxes = read_voc_boxes(annotation, image, CLASSES)
        if not len(boxes):
            raise ValueError(f"the annotation {annotation} holds no object")
        label_map = self._voc_maps.get(name)
        lanes = _read_mat(self._sbd_maps[name]) if label_map is None else _read_indexed(label_map)
        _check(lanes, image.shape[:2], label_map or self._sbd_maps[name])
        samples = {
            Task.SIGNS: Sample(image, _class_of(boxes)),
            Task.OBJECTS: Sample(image, boxes),
            Task.LANES: Sample(image, lanes),
        }
        return Frame(name, image, samples)


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


def _read_indexed(path: Path) -> ClassMap:
    """A PNG with a palette, whose indices (which OpenCV does not give) are the class ids."""
    try:
        with PIL.Image.open(path) as picture:
            mode, ids = picture.mode, np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot decode the label map {path}: {error}") from error
    if mode not in ("P", "L"):
        raise ValueError(f"the label map {path} is of mode {mode}; it must hold class ids")
    return ids.astype(np.uint8)


def _check(ids: ClassMap, size: tuple[int, int], path: Path) -> None:
    if ids.shape != size:
        raise ValueError(f"the label map {path} is of shape {ids.shape}, its picture of {size}")
    wrong = ids[(ids >= len(LANE_CLASSES)) & (ids != IGNORE)]
    if wrong.size:
        raise ValueError(
            f"the label map {path} holds the class id {wrong[0]}; "
            f"VOC's ids are 0 to {len(LANE_CLASSES) - 1} and {IGNORE}"
        )
