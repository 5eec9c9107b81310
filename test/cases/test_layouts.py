"""Folders as the tools that make labels export them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniatures import write_picture

from patchline_ros.datasets.catalogue import CATALOGUE
from patchline_ros.datasets.checking import check_set
from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.voc import VocFolder
from patchline_ros.datasets.yolo import YoloFolder

CLASSES = ("car", "bus")
YOLO = "0 .5 .5 .25 .5\n"
VOC = (
    "<annotation><object><name>car</name><bndbox><xmin>4</xmin><ymin>6</ymin><xmax>20</xmax>"
    "<ymax>18</ymax></bndbox></object></annotation>"
)


def coco(*files: str) -> str:
    """A car in each picture."""
    things = [{"image_id": i, "category_id": 1, "bbox": [4, 6, 9, 9]} for i in range(len(files))]
    return json.dumps(
        {
            "images": [{"id": i, "file_name": name} for i, name in enumerate(files)],
            "annotations": things,
            "categories": [
                {"id": 0, "name": "road", "supercategory": "none"},
                {"id": 1, "name": "car", "supercategory": "road"},
            ],
        }
    )


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Texts, and pictures where there is none."""
    for name, text in files.items():
        if text:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        else:
            write_picture(folder / name)


LAYOUTS: dict[str, tuple[str, dict[str, str], dict[str, tuple[int, int]]]] = {
    "ultralytics": (
        "yolo",
        {
            "data.yaml": "path: .\ntrain: images/train\nval: images/val\nnames: {0: car, 1: bus}\n",
            "images/train/a.jpg": "",
            "images/train/b.jpg": "",
            "images/train/background.jpg": "",
            "images/val/c.jpg": "",
            "labels/train/a.txt": YOLO,
            "labels/train/b.txt": YOLO + YOLO,
            "labels/val/c.txt": YOLO,
        },
        {"train": (3, 3), "val": (1, 1)},
    ),
    "roboflow's YOLO": (
        "yolo",
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\nnames: ['car', 'bus']\n",
            "README.roboflow.txt": "exported",
            "train/images/a_jpg.rf.0a.jpg": "",
            "train/labels/a_jpg.rf.0a.txt": YOLO,
            "valid/images/b_jpg.rf.1b.jpg": "",
            "valid/labels/b_jpg.rf.1b.txt": YOLO,
        },
        {"train": (1, 1), "valid": (1, 1)},
    ),
    "LabelImg's YOLO": (
        "yolo",
        {
            "images/a.jpg": "",
            "images/train.jpg": "",
            "labels/a.txt": YOLO,
            "labels/train.txt": YOLO,
            "labels/classes.txt": "car\nbus\n",
        },
        {"all": (2, 2)},
    ),
    "texts beside the pictures": (
        "yolo",
        {"a.jpg": "", "b.jpg": "", "a.txt": YOLO, "classes.txt": "car\nbus\n"},
        {"all": (2, 1)},
    ),
    "CVAT's YOLO 1.1": (
        "yolo",
        {
            "obj.names": "car\nbus\n",
            "obj.data": "classes = 2\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "obj_train_data/a.jpg": "",
            "obj_train_data/a.txt": YOLO,
        },
        {"obj_train_data": (1, 1)},
    ),
    "PASCAL VOC": (
        "voc",
        {
            "JPEGImages/a.jpg": "",
            "Annotations/a.xml": VOC,
            "ImageSets/Main/train.txt": "a\n",
            "labelmap.txt": "car:0,0,1::\n",
        },
        {"all": (1, 1)},
    ),
    "roboflow's VOC": (
        "voc",
        {"train/a.jpg": "", "train/a.xml": VOC, "test/b.jpg": "", "test/b.xml": VOC},
        {"test": (1, 1), "train": (1, 1)},
    ),
    "roboflow's COCO": (
        "coco",
        {
            "train/a.jpg": "",
            "train/_annotations.coco.json": coco("a.jpg"),
            "valid/b.jpg": "",
            "valid/_annotations.coco.json": coco("b.jpg"),
        },
        {"train": (1, 1), "valid": (1, 1)},
    ),
    "a split of it": (
        "coco",
        {"a.jpg": "", "_annotations.coco.json": coco("a.jpg")},
        {"all": (1, 1)},
    ),
    "CVAT's COCO 1.0": (
        "coco",
        {"images/a.jpg": "", "annotations/instances_default.json": coco("a.jpg")},
        {"default": (1, 1)},
    ),
    "CVAT's COCO 1.0 with splits": (
        "coco",
        {"images/train/a.jpg": "", "annotations/instances_train.json": coco("a.jpg")},
        {"train": (1, 1)},
    ),
    "COCO": (
        "coco",
        {"val2017/a.jpg": "", "annotations/instances_val2017.json": coco("a.jpg")},
        {"val2017": (1, 1)},
    ),
    "Label Studio's COCO": (
        "coco",
        {"images/a.jpg": "", "result.json": coco("images\\a.jpg")},
        {"all": (1, 1)},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout(layout: str, tmp_path: Path) -> None:
    name, files, right = LAYOUTS[layout]
    write_files(tmp_path, files)
    classes = None if name == "coco" else CLASSES
    found = list(check_set(CATALOGUE[name], tmp_path, classes, False, 1))
    assert {part.name: (part.pictures, part.found.total()) for part in found} == right
    assert not any(part.missing or part.broken for part in found)
    assert {of for part in found for _, of in part.found} == {"car"}


@pytest.mark.parametrize(
    ("kind", "folder", "files", "right"),
    [
        (YoloFolder, "images/train", {"images/train/a.jpg": "", "labels/train/a.txt": YOLO}, 1),
        (YoloFolder, "Images", {"Images/a.jpg": "", "Labels/a.txt": YOLO}, 1),
        (YoloFolder, ".", {"images/a.jpg": "", "images/a.txt": YOLO}, 1),
        (VocFolder, ".", {"images/a.jpg": "", "annotations/a.xml": VOC}, 1),
    ],
)
def test_a_folder_of_a_configuration(
    kind: type[PairedFolder], folder: str, files: dict[str, str], right: int, tmp_path: Path
) -> None:
    write_files(tmp_path, files)
    (sample,) = kind(tmp_path / folder, CLASSES)
    assert len(sample.label) == right


@pytest.mark.parametrize(
    ("kind", "files", "sentence"),
    [
        (
            YoloFolder,
            {"images/train/a.jpg": "", "images/val/b.jpg": "", "labels/train/a.txt": YOLO},
            "images holds no picture, but the splits train, val: name one of them, such as .*train",
        ),
        (YoloFolder, {"images/a.jpg": ""}, "there is no folder .*labels; give .* the label files"),
        (
            YoloFolder,
            {"images/a.jpg": "", "labels/classes.txt": "car"},
            "labels holds no label file of a picture in .*images",
        ),
        (
            YoloFolder,
            {"images/a.jpg": "", "labels/a.txt": YOLO, "labels/b.txt": YOLO},
            "b.txt has no picture b.jpg or .png in .*images",
        ),
        (
            VocFolder,
            {"images/a.jpg": "", "images/b.jpg": "", "annotations/a.xml": VOC},
            "b.jpg has no annotation .*b.xml; add it or take the picture out",
        ),
        (MaskFolder, {"a.jpg": "", "a_mask.png": ""}, "there is no folder .*images; give the"),
    ],
)
def test_folders_that_are_refused(
    kind: type[PairedFolder], files: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    write_files(tmp_path, files)
    with pytest.raises(ValueError, match=sentence):
        kind(tmp_path, CLASSES)
