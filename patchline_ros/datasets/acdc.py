"""ACDC (Sakaridis et al. 2021): real roads in fog, rain, snow and at night."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from patchline_ros.datasets.coco import CocoAnnotations
from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import read_class_map, read_rgb
from patchline_ros.tasks import Boxes, Frame, Sample, Task

Condition = Literal["fog", "night", "rain", "snow"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = get_args(Split)

LANE_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""Cityscapes' 19 classes in the order of their train ids."""

OBJECT_CLASSES = LANE_CLASSES[11:]
"""Those that are labelled as single objects."""

TASK_CLASSES = {Task.DETECTION: OBJECT_CLASSES, Task.SEGMENTATION: LANE_CLASSES}

_SUFFIX = "_rgb_anon.png"
_OBJECT_OF_CATEGORY = dict(zip((24, 25, 26, 27, 28, 31, 32, 33), range(8), strict=True))
"""Place in OBJECT_CLASSES of Cityscapes' ids, which the boxes are labelled with."""


class Acdc(FileSet[Frame]):
    """One condition and split of ACDC, sorted by sequence and frame number.

    Layout, as the archives rgb_anon, gt and gt_detection unpack it:

        rgb_anon/CONDITION/SPLIT/SEQUENCE/SEQUENCE_frame_NUMBER_rgb_anon.png
        gt/CONDITION/SPLIT/SEQUENCE/SEQUENCE_frame_NUMBER_gt_labelTrainIds.png
        gt_detection/CONDITION/instancesonly_CONDITION_SPLIT_gt_detection.json     (COCO's format)

    400 pictures of 1920x1080 to train on per condition, 100 for validation (night: 106). Every
    frame has a segmentation sample (19 classes) and a detection sample (8 classes; no crowds) that
    share its picture. Pictures are read when they are asked for.
    Raises ValueError where a folder or file is missing or the boxes are not of this format.
    """

    def __init__(self, directory: Path, condition: Condition, split: Split) -> None:
        """List the pictures and read the boxes."""
        self._labels = directory / "gt" / condition / split
        pictures = directory / "rgb_anon" / condition / split
        for folder in (pictures, self._labels):
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}; unpack ACDC's archives there")
        self._paths = {
            path.name.removesuffix(_SUFFIX): path for path in sorted(pictures.glob(f"*/*{_SUFFIX}"))
        }
        if not self._paths:
            raise ValueError(f"{pictures} holds no picture SEQUENCE/*{_SUFFIX}")
        file = f"instancesonly_{condition}_{split}_gt_detection.json"
        content = CocoAnnotations(directory / "gt_detection" / condition / file)
        others = content.used_categories - set(_OBJECT_OF_CATEGORY)
        if others:
            raise ValueError(
                f"{content.path} has boxes of the category {min(others)}; Cityscapes' ids of "
                f"single objects are {', '.join(map(str, _OBJECT_OF_CATEGORY))}"
            )
        self._pictures = {
            Path(file).name.removesuffix(_SUFFIX): picture
            for file, picture in content.pictures(_OBJECT_OF_CATEGORY).items()
        }
        self.names: tuple[str, ...] = tuple(self._paths)

    def read(self, index: int) -> Frame:
        """Read one frame; ValueError names a file that cannot be read."""
        name = self.names[index]
        path = self._paths[name]
        image = read_rgb(path)
        label_map = self._labels / path.parent.name / f"{name}_gt_labelTrainIds.png"
        if not label_map.is_file():
            raise ValueError(f"there is no label map {label_map}; unpack ACDC's archive gt again")
        lanes = read_class_map(label_map, image, len(LANE_CLASSES))
        listed = self._pictures.get(name)
        boxes = Boxes.truth([], []) if listed is None else listed.boxes(image)
        samples = {
            Task.DETECTION: Sample(image, boxes),
            Task.SEGMENTATION: Sample(image, lanes),
        }
        return Frame(name, image, samples)
