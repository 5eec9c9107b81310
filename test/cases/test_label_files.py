"""Label files as tools and people leave them: each is read right, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.datasets.voc import VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.tasks import Boxes, Sample

CLASSES = ("car", "bus")
WIDTH, HEIGHT = 64, 48
ROTATED = 6
"""The EXIF orientation of a phone that is held upright."""

Box = tuple[str, list[float]]


def write_jpeg(path: Path, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path, "JPEG", exif=exif.tobytes())


def boxes_of(sample: Sample, classes: tuple[str, ...]) -> list[Box]:
    label = sample.label
    assert isinstance(label, Boxes)
    rounded = np.round(label.boxes.astype(float), 1).tolist()
    return [(classes[i], box) for i, box in zip(label.labels.tolist(), rounded, strict=True)]


# YOLO


def yolo(folder: Path, text: bytes | None) -> list[Box]:
    write_jpeg(folder / "images" / "a.jpg")
    write_jpeg(folder / "images" / "b.jpg")
    (folder / "labels").mkdir()
    (folder / "labels" / "b.txt").write_bytes(b"")
    if text is not None:
        (folder / "labels" / "a.txt").write_bytes(text)
    return boxes_of(YoloFolder(folder, CLASSES)[0], CLASSES)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (None, []),
        (b"", []),
        (b"\r\n", []),
        (
            b"\xef\xbb\xbf0 .5 .5 .25 .5\r\n1 .25 .25 .5 .5\r\n",
            [("car", [24, 12, 40, 36]), ("bus", [0, 0, 32, 24])],
        ),
        (b"1.0 0.5 0.5 0.25 0.5", [("bus", [24, 12, 40, 36])]),
        (b"0\t0.5\t0.5\t1.0000001\t1.0", [("car", [0, 0, 64, 48])]),
        # An object that the picture's edge cuts.
        (b"0 0.9375 0.5 0.25 0.5", [("car", [52, 12, 64, 36])]),
    ],
)
def test_yolo_lines(text: bytes | None, right: list[Box], tmp_path: Path) -> None:
    assert yolo(tmp_path, text) == right


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"0 .5 .5 40 30", "line 1 of .*a.txt is no box: 40 is no share of the picture, from 0 to"),
        (b"0 32 24 13 10", "line 1 of .*a.txt is no box: 32 is no share"),
        (b"0 50 50 25 50", "line 1 of .*a.txt is no box: 50 is no share"),
        (b"0 .5 .5 .2 .2\n0 .5 -.4 .2 .2", r"line 2 of .*a.txt is no box: -\.4 is no share"),
        (b"0 .5 .5 nan .2", r"line 1 of .*a.txt is no box: \.5 \.5 nan \.2 is no area inside"),
        (b"0 .5 .5 0 .2", "line 1 of .*a.txt is no box: .* is no area inside the picture"),
        (b"0.5 .5 .5 .2 .2", r"line 1 of .*a.txt is no box: its class id 0\.5 is no whole number"),
        (b"nan .5 .5 .2 .2", "line 1 of .*a.txt is no box: its class id nan is no whole number"),
        (b"0 .1 .1 .9 .1 .9 .9", "is no box: it has 7 numbers instead of 5; an outline is not"),
        (b"2 .5 .5 .2 .2", "line 1 of .*a.txt holds the class id 2; the ids are 0 to 1"),
        ("0 .5 .5 .2 .2".encode("utf-16"), "the label file .*a.txt is no text"),
    ],
)
def test_yolo_lines_that_are_refused(text: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        yolo(tmp_path, text)


# PASCAL VOC


def voc(folder: Path, text: str, orientation: int = 1) -> list[Box]:
    write_jpeg(folder / "images" / "a.jpg", orientation)
    (folder / "annotations").mkdir()
    (folder / "annotations" / "a.xml").write_text(text)
    return boxes_of(VocFolder(folder, CLASSES)[0], CLASSES)


def voc_text(corners: str, size: str = "") -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    words = zip(tags, corners.split(), strict=True)
    box = "".join(f"<{tag}>{word}</{tag}>" for tag, word in words)
    sides = zip(("width", "height", "depth"), size.split(), strict=False)
    stated = "".join(f"<{tag}>{word}</{tag}>" for tag, word in sides)
    part = "<part><name>wheel</name><bndbox><xmin>6</xmin></bndbox></part>"
    return (
        f"<annotation><size>{stated}</size><object><name>car</name><bndbox>{box}</bndbox>{part}"
        "</object></annotation>"
    )


@pytest.mark.parametrize(
    ("text", "orientation", "right"),
    [
        (voc_text("4.5 3.0 20 40"), 1, [4.5, 3, 20, 40]),
        (voc_text("4 3 20 40", "64 48 3"), 1, [4, 3, 20, 40]),
        (voc_text("4 3 20 40", "0 0 3"), 1, [4, 3, 20, 40]),
        (voc_text("4 3 20 40", "48 64 3"), ROTATED, [4, 3, 20, 40]),
        ("\ufeff" + voc_text("4 3 66 40", "64.0 48.0"), 1, [4, 3, 64, 40]),
    ],
)
def test_voc(text: str, orientation: int, right: list[float], tmp_path: Path) -> None:
    assert voc(tmp_path, text, orientation) == [("car", right)]


@pytest.mark.parametrize(
    ("text", "orientation", "sentence"),
    [
        (
            voc_text("10 10 300 200", "640 480 3"),
            1,
            "a.xml is for a picture of 640x480, but the picture is 64x48: put the picture there",
        ),
        (voc_text("4 3 20 40", "48 64"), 1, "of 48x64, but the picture is 64x48"),
        (
            voc_text("40 10 60 30", "64 48"),
            ROTATED,
            "of 64x48, but the picture is 48x64: .*EXIF orientation turns it, take that mark out",
        ),
        (voc_text("4 3 20 40", "wide 48"), 1, "a.xml states the width 'wide'"),
        (voc_text("10 10 300 200"), 1, "has a car at 10, 10, 300, 200, most of which is outside"),
        (voc_text("nan 3 20 40"), 1, "has a car at nan, 3, 20, 40, which is no area of the 64x48"),
        (voc_text("20 3 4 40"), 1, "has a car at 20, 3, 4, 40, which is no area of the 64x48"),
        (
            "<annotations><image name='a.jpg'><box label='car'/></image></annotations>",
            1,
            "a.xml is not in VOC's format: it is <annotations> and not <annotation>; export it as",
        ),
    ],
)
def test_voc_that_is_refused(text: str, orientation: int, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        voc(tmp_path, text, orientation)


# COCO


def coco_content(
    thing: dict[str, object], image: dict[str, object] | None = None
) -> dict[str, list[dict[str, object]]]:
    """A picture with a bus that is as it should be, and another object."""
    bus = {"id": 7, "image_id": 1, "category_id": 3, "bbox": [30, 4, 20, 20]}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", **(image or {})}],
        "annotations": [bus, {"id": 8, "image_id": 1, "category_id": 1, **thing}],
        "categories": [{"id": 1, "name": "car"}, {"id": 3, "name": "bus"}],
    }


def coco(
    folder: Path, content: object, picture: str = "images/a.jpg", orientation: int = 1
) -> list[Box]:
    write_jpeg(folder / picture, orientation)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8-sig")
    pictures = CocoFolder(folder / "images", folder / "annotations.json")
    return boxes_of(pictures[0], pictures.classes)


BOX: dict[str, object] = {"bbox": [4, 4, 20, 20]}
OUTLINE = [[4, 4, 24, 4, 24.0, 24]]


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (coco_content(BOX), "images/a.jpg"),
        (coco_content(BOX, {"width": 64, "height": 48}), "images/a.jpg"),
        (coco_content(BOX, {"width": 0, "height": None}), "images/a.jpg"),
        (coco_content({"bbox": ["4", "4", "20", "20"]}), "images/a.jpg"),
        (coco_content({**BOX, "image_id": 1.0, "category_id": 1.0}), "images/a.jpg"),
        (coco_content({"bbox": [], "segmentation": OUTLINE}), "images/a.jpg"),
        (coco_content({"bbox": None, "segmentation": OUTLINE}), "images/a.jpg"),
        (coco_content({"segmentation": OUTLINE}), "images/a.jpg"),
        (coco_content(BOX, {"file_name": "day\\a.jpg"}), "images/day/a.jpg"),
        (coco_content(BOX, {"file_name": "images\\a.jpg"}), "images/a.jpg"),
    ],
)
def test_coco(content: object, picture: str, tmp_path: Path) -> None:
    right = [("bus", [30, 4, 50, 24]), ("car", [4, 4, 24, 24])]
    assert coco(tmp_path, content, picture) == right


@pytest.mark.parametrize(
    ("content", "orientation", "sentence"),
    [
        (
            coco_content(BOX, {"width": 64, "height": 48}),
            ROTATED,
            "a.jpg in .*annotations.json is for a picture of 64x48, but the picture is 48x64",
        ),
        (coco_content(BOX, {"width": 128, "height": 96}), 1, "of 128x96, but the picture is 64x48"),
        (
            coco_content({**BOX, "category_id": 2}),
            1,
            "has 1 annotations of the category id 2, such as the annotation 8, but declares 1, 3",
        ),
        (
            coco_content(BOX) | {"categories": [{"id": 1, "name": n} for n in CLASSES]},
            1,
            "declares two categories of the id 1",
        ),
        (coco_content({"bbox": []}), 1, "the annotation 8 of a.jpg is a box that is none: bbox is"),
        (coco_content({"bbox": [4, 4, 20]}), 1, "the annotation 8 of a.jpg .* bbox is .4, 4, 20."),
        (
            coco_content({"bbox": None, "segmentation": {"size": [48, 64], "counts": [4]}}),
            1,
            "the annotation 8 of a.jpg is a box that is none: bbox is None",
        ),
        (coco_content({"bbox": [float("nan"), 4, 20, 20]}), 1, "annotation 8 .* which is no area"),
        (coco_content({"bbox": [4, 4, 0, 20]}), 1, "annotation 8 .* which is no area of the 64x48"),
        (coco_content({"bbox": [400, 4, 20, 20]}), 1, "annotation 8 .* which is no area of the"),
        (coco_content({"bbox": [50, 30, 64, 48]}), 1, "annotation 8 .* most of which is outside"),
        (
            coco_content(BOX, {"file_name": "C:\\photos\\a.jpg"}),
            1,
            "no picture .*C:/photos/a.jpg, which .*annotations.json lists",
        ),
    ],
)
def test_coco_that_is_refused(
    content: object, orientation: int, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        coco(tmp_path, content, orientation=orientation)


def test_a_group_that_nothing_is_of_is_no_class(tmp_path: Path) -> None:
    content = coco_content(BOX)
    content["categories"] = [
        {"id": 0, "name": "vehicles", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "vehicles"},
        {"id": 3, "name": "bus", "supercategory": "vehicles"},
    ]
    assert coco(tmp_path, content) == [("bus", [30, 4, 50, 24]), ("car", [4, 4, 24, 24])]
    pictures = CocoFolder(tmp_path / "images", tmp_path / "annotations.json")
    assert pictures.classes == ("car", "bus")
