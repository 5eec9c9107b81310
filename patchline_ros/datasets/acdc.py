"""ACDC (Sakaridis et al. 2021): real roads in fog, rain, snow and at night."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from patchline_ros.datasets.listed import Listed
from patchline_ros.datasets.pictures import read_class_map, read_rgb
from patchline_ros.tasks import IGNORE, Boxes, Frame, Image, Sample, Task

CONDITIONS = ("fog", "night", "rain", "snow")

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

_SUFFIX = "_rgb_anon.png"
_OBJECT_OF_CATEGORY = dict(zip((24, 25, 26, 27, 28, 31, 32, 33), range(8), strict=True))
"""Place in OBJECT_CLASSES of Cityscapes' ids, which the boxes are labelled with."""


class Acdc(Listed[Frame]):
    """One condition and split of ACDC, sorted by sequence and frame number.

    Layout, as the archives rgb_anon, gt and gt_detection unpack it:

        rgb_anon/CONDITION/SPLIT/SEQUENCE/SEQUENCE_frame_NUMBER_rgb_anon.png
        gt/CONDITION/SPLIT/SEQUENCE/SEQUENCE_frame_NUMBER_gt_labelTrainIds.png
        gt_detection/CONDITION/instancesonly_CONDITION_SPLIT_gt_detection.json     (COCO's format)

    400 pictures of 1920x1080 to train on per condition, 100 for validation (night: 106). From
    acdc.vision.ee.ethz.ch after registration, for non-commercial use. Every frame has a lanes
    sample (19 classes) and an objects sample (8 classes; crowds left out) that share its picture.
    Pictures are read when they are asked for.
    Raises ValueError where a folder or file is missing or the boxes are not of this format.
    """

    def __init__(self, directory: Path, condition: str, split: Literal["train", "val"]) -> None:
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
        self._boxes = _read_boxes(
            directory
            / "gt_detection"
            / condition
            / f"instancesonly_{condition}_{split}_gt_detection.json"
        )
        self.names: tuple[str, ...] = tuple(self._paths)

    def read(self, index: int) -> Frame:
        """Read one frame; ValueError names a file that cannot be read."""
        name = self.names[index]
        path = self._paths[name]
        image = read_rgb(path)
        label_map = self._labels / path.parent.name / f"{name}_gt_labelTrainIds.png"
        if not label_map.is_file():
            raise ValueError(f"there is no label map {label_map}; unpack ACDC's archive gt again")
        lanes = read_class_map(label_map, image)
        wrong = lanes[(lanes >= len(LANE_CLASSES)) & (lanes != IGNORE)]
        if wrong.size:
            raise ValueError(
                f"the label map {label_map} holds the class id {wrong[0]}; "
                f"train ids are 0 to {len(LANE_CLASSES) - 1} and {IGNORE}"
            )
        samples = {
            Task.OBJECTS: Sample(image, self._boxes_of(name, image)),
            Task.LANES: Sample(image, lanes),
        }
        return Frame(name, image, samples)

    def _boxes_of(self, name: str, image: Image) -> Boxes:
        rows, columns = image.shape[:2]
        kept = [
            ([max(x, 0.0), max(y, 0.0), min(x + w, columns), min(y + h, rows)], label)
            for x, y, w, h, label in self._boxes.get(name, [])
        ]
        kept = [(box, label) for box, label in kept if box[2] > box[0] and box[3] > box[1]]
        return Boxes.truth([box for box, _ in kept], [label for _, label in kept])


def _read_boxes(path: Path) -> dict[str, list[tuple[float, float, float, float, int]]]:
    """x, y, width, height in pixels and class of each object, by the name of the picture."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}; unpack ACDC's archive gt_detection there")
    boxes: dict[str, list[tuple[float, float, float, float, int]]] = {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {
            image["id"]: Path(image["file_name"]).name.removesuffix(_SUFFIX)
            for image in content["images"]
        }
        for thing in content["annotations"]:
            if thing.get("iscrowd"):
                continue
            x, y, width, height = (float(number) for number in thing["bbox"])
            label = _OBJECT_OF_CATEGORY[thing["category_id"]]
            boxes.setdefault(names[thing["image_id"]], []).append((x, y, width, height, label))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not in COCO's format with Cityscapes' categories: {error!r}"
        ) from error
    return boxes
