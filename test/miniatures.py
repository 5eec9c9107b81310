"""Small copies of the data sets' layouts: a few tiny pictures, everything else as it really is.

`make_SET(data)` writes below the folder of all data, where the set belongs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy.io import savemat

from patchline_ros.tasks import IGNORE, ClassMap, Image

SIZE = (24, 32)


def write_picture(path: Path, image: Image | None = None, size: tuple[int, int] = SIZE) -> None:
    """An RGB picture; noise that no other path has where none is given."""
    if image is None:
        rng = np.random.default_rng(list(path.name.encode()) + list(path.parent.name.encode()))
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[:, :, ::-1])


def write_map(path: Path, ids: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(ids, dtype=np.uint8))


def stripes(*ids: int, size: tuple[int, int] = SIZE) -> ClassMap:
    """Columns of these class ids in turn."""
    return np.resize(np.array(ids, dtype=np.uint8), size)


def write_voc(path: Path, *things: tuple[str, int, int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, corners, strict=True))
        + "</bndbox></object>"
        for name, *corners in things
    )
    path.write_text(f"<annotation>{objects}</annotation>")


def make_camvid_and_gtsrb(data: Path, day: int = 50) -> None:
    ids = stripes(0, 3)
    ids[4:20, 4:20] = 8
    for drive, frames in (("day", day), ("dusk", 20)):
        for i in range(frames):
            folder = data / "camvid" / drive
            write_picture(folder / "images" / f"{drive}_{i:03d}.png")
            write_map(folder / "labels" / f"{drive}_{i:03d}.png", ids)
    for label, tracks in (("00", 3), ("07", 8)):
        for track in range(tracks):
            for view in range(5):
                write_picture(data / "gtsrb" / label / f"{track:05d}_{view:05d}.png")


def make_vehicles_and_dawn(data: Path) -> None:
    for i in range(12):
        for copy in ("a", "b"):
            stem = f"{i:02d}_jpg.rf.{copy}"
            write_picture(data / "vehicles" / "images" / f"{stem}.png")
            label = data / "vehicles" / "labels" / f"{stem}.txt"
            label.parent.mkdir(exist_ok=True)
            # Pictures 0 and 1 show an ambulance alone.
            vehicle = "" if i < 2 else f"{1 + i % 4} 0.5 0.5 0.25 1.0\n"
            label.write_text(f"0 0.25 0.5 0.5 0.5\n{vehicle}")
    for i in range(20):
        write_picture(data / "dawn_fog" / "images" / f"fog-{i}.png")
        write_voc(
            data / "dawn_fog" / "annotations" / f"fog-{i}.xml",
            ("person", 1, 2, 5, 9),
            ("truck", 4, 6, 20, 40),
        )
    # A copy in the part to test on of a picture in the part to adapt on.
    picture = (data / "dawn_fog" / "images" / "fog-0.png").read_bytes()
    (data / "dawn_fog" / "images" / "fog-9.png").write_bytes(picture)


def make_core50(data: Path) -> None:
    root = data / "core50"
    for session in range(1, 12):
        for thing in range(1, 31):
            place = f"s{session}/o{thing}"
            for frame in range(3):
                name = f"C_{session:02d}_{thing:02d}_{frame:03d}.png"
                write_picture(root / "core50_350x350" / place / name, size=(16, 16))
                write_map(root / "masks" / place / name, stripes(0, 255, size=(16, 16)))
            boxes = root / "bbox" / f"s{session}" / f"CropC_o{thing}.txt"
            boxes.parent.mkdir(parents=True, exist_ok=True)
            boxes.write_text("".join(f"Color{frame:03d}: 2 3 12 14\n" for frame in range(3)))


def make_acdc(data: Path, train: int = 4, val: int = 2) -> None:
    root = data / "acdc"
    for condition in ("fog", "rain", "snow", "night"):
        for split, frames in (("train", train), ("val", val)):
            sequence = f"GOPR0{1 + (split == 'val')}"
            stems = [f"{sequence}_frame_{i:06d}" for i in range(frames)]
            for stem in stems:
                place = f"{condition}/{split}/{sequence}"
                write_picture(root / "rgb_anon" / place / f"{stem}_rgb_anon.png")
                ids = stripes(0, 10, 13, IGNORE)
                write_map(root / "gt" / place / f"{stem}_gt_labelTrainIds.png", ids)
            names = [f"{condition}/{split}/{sequence}/{stem}_rgb_anon.png" for stem in stems]
            things = [{"image_id": 7, "category_id": 26, "bbox": [2, 3, 10, 8], "iscrowd": 0}]
            things += [{"image_id": 7, "category_id": 24, "bbox": [0, 0, 9, 9], "iscrowd": 1}]
            boxes = root / "gt_detection" / condition
            boxes.mkdir(parents=True, exist_ok=True)
            (boxes / f"instancesonly_{condition}_{split}_gt_detection.json").write_text(
                json.dumps(
                    {
                        "images": [{"id": 7 + i, "file_name": n} for i, n in enumerate(names)],
                        "annotations": things,
                    }
                )
            )


def make_sbd(data: Path, count: int = 30) -> None:
    voc = data / "VOCdevkit" / "VOC2012"
    (data / "sbd" / "cls").mkdir(parents=True)
    (voc / "SegmentationClass").mkdir(parents=True)
    for i in range(count):
        name = f"2008_{i:06d}"
        write_picture(voc / "JPEGImages" / f"{name}.jpg")
        # Each second picture shows a dog that is larger than the cat.
        side = 4 + 18 * (i % 2)
        things = ("dog", 1, 1, side, side), ("cat", 5, 5, 25, 20)
        write_voc(voc / "Annotations" / f"{name}.xml", *things)
        ids = np.resize(np.array([0, 8, 12], dtype=np.uint8), (24, 32))
        if i % 3:
            content = {"GTcls": {"Segmentation": ids}}
            savemat(str(data / "sbd" / "cls" / f"{name}.mat"), content)
        else:
            ids[:2] = IGNORE
            write_palette(voc / "SegmentationClass" / f"{name}.png", ids)


def make_yolo(data: Path, count: int = 50) -> None:
    """A box for each picture, and every fifth has none; classes bus, car."""
    for i in range(count):
        write_picture(data / "yolo" / "images" / f"{i:03d}.png")
        label = data / "yolo" / "labels" / f"{i:03d}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(f"{i % 2} 0.5 0.5 0.25 0.5\n" if i % 5 else "")


def make_voc(data: Path, count: int = 50) -> None:
    """Classes bus, car."""
    for i in range(count):
        write_picture(data / "voc" / "images" / f"{i:03d}.png")
        write_voc(
            data / "voc" / "annotations" / f"{i:03d}.xml", (("bus", "car")[i % 2], 4, 6, 20, 18)
        )


def coco_content(count: int) -> dict[str, list[dict[str, object]]]:
    """Categories 3 car, 7 bus and 9 tree, whose order is not that of their names; crowds too."""
    return {
        "images": [{"id": 100 + i, "file_name": f"{i:03d}.png"} for i in range(count)],
        "categories": [
            {"id": 7, "name": "bus"},
            {"id": 3, "name": "car"},
            {"id": 9, "name": "tree"},
        ],
        "annotations": [
            {
                "id": 1 + len(KINDS) * i + place,
                "image_id": 100 + i,
                "category_id": category,
                "bbox": [2 + place, 3.5, 6, 8],
                "area": 48,
                "iscrowd": crowd,
            }
            for i in range(1, count)
            for place, (category, crowd) in enumerate(KINDS)
        ],
    }


KINDS = ((3, 0), (7, 0), (9, 0), (3, 1))
"""Category of each annotation of a picture, and whether it is a crowd."""


def make_coco(data: Path, count: int = 50) -> None:
    """In each picture but the first a car, a bus, a tree and a crowd of cars."""
    for i in range(count):
        write_picture(data / "coco" / "images" / f"{i:03d}.png")
    (data / "coco" / "annotations.json").write_text(json.dumps(coco_content(count)))


def make_masks(data: Path, count: int = 50) -> None:
    """Classes sky, road; every second mask has a palette."""
    for i in range(count):
        write_picture(data / "masks" / "images" / f"{i:03d}.png")
        path = data / "masks" / "masks" / f"{i:03d}.png"
        write_map(path, stripes(0, 1, IGNORE))
        if i % 2:
            write_palette(path, stripes(0, 1, IGNORE))


def write_palette(path: Path, ids: ClassMap) -> None:
    picture = PIL.Image.fromarray(ids, mode="P")
    picture.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    picture.save(path)


def make_bag(
    data: Path,
    frames: Sequence[tuple[str, str]] = (),
    damaged: bool = False,
    definition: str = "",
) -> None:
    """data/drive: labelled frames (id, task) of noise; classes 0 and 1.

    Without `frames` 50 for each task, of which every picture comes twice.
    damaged: one message more that is none.
    definition: of LabelledFrame; empty: that of now.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer

    from patchline_ros.datasets.labelled_bag import DEFINITION, MESSAGE, labelled_frame_types

    types = labelled_frame_types(definition or DEFINITION)
    chosen = frames or [(f"f{i:03d}", t) for i in range(50) for t in TASKS for _ in range(2)]
    with Writer(data / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = writer.add_connection("/labelled_frames", MESSAGE, typestore=types)
        for number, (name, task) in enumerate(chosen):
            message = labelled_message(types, name, task, number)
            writer.write(to, number, types.serialize_cdr(message, MESSAGE))
        if damaged:
            writer.write(to, len(chosen), b"\x00\x01\x00\x00torn")


TASKS = ("classification", "detection", "segmentation")


def labelled_message(types: Any, name: str, task: str, stamp: int) -> Any:
    """A LabelledFrame for rosbags, of class 1: a box from 4, 6 to 20, 18, or stripes of 0 and 1."""

    def make(kind: str, *fields: object) -> Any:
        return types.types[kind.replace("/", "/msg/")](*fields)

    header = make("std_msgs/Header", make("builtin_interfaces/Time", 0, stamp), "camera")

    def image(encoding: str, pixels: NDArray[np.uint8]) -> Any:
        height, width = pixels.shape[:2]
        step = pixels.size // height
        return make("sensor_msgs/Image", header, height, width, encoding, 0, step, pixels.ravel())

    hypothesis = make("vision_msgs/ObjectHypothesis", "1", 1.0)
    pose = make(
        "geometry_msgs/PoseWithCovariance",
        make(
            "geometry_msgs/Pose",
            make("geometry_msgs/Point", 0.0, 0.0, 0.0),
            make("geometry_msgs/Quaternion", 0.0, 0.0, 0.0, 1.0),
        ),
        np.zeros(36),
    )
    centre = make("vision_msgs/Pose2D", make("vision_msgs/Point2D", 12.0, 12.0), 0.0)
    thing = make(
        "vision_msgs/Detection2D",
        header,
        [make("vision_msgs/ObjectHypothesisWithPose", hypothesis, pose)],
        make("vision_msgs/BoundingBox2D", centre, 16.0, 12.0),
        "",
    )
    kind = types.types["patchline_ros/msg/LabelledFrame"]
    unsigned = [np.zeros(0, np.uint8)] if "signature" in kind.__dataclass_fields__ else []
    noise = np.random.default_rng(list(name.encode())).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return make(
        "patchline_ros/LabelledFrame",
        header,
        name,
        task,
        image("rgb8", noise),
        make("vision_msgs/Classification", header, [hypothesis]),
        make("vision_msgs/Detection2DArray", header, [thing]),
        image("mono8", stripes(0, 1)),
        *unsigned,
    )
