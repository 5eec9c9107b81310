"""Data sets and recordings of other people: label files and bags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import cv2
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from patchline_ros.datasets.bag import BagFrames
from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.datasets.labelled_bag import MESSAGE, LabelledBag, labelled_frame_types
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.reading import read_all
from patchline_ros.datasets.voc import VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.nodes.conversions import labelled_frame_to_msg, rgb_to_image
from patchline_ros.tasks import Sample, Task
from tools.fuzz_decoder import CLASSES, SIDE, Decoder, Target, picture

_VOC: Final = (
    b"<annotation><size><width>32</width><height>32</height></size><object><name>car</name><bndbox>"
    b"<xmin>4</xmin><ymin>6</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object></annotation>"
)
_COCO: Final = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 6, 9, 9]}],
        "categories": [{"id": 0, "name": "road"}, {"id": 1, "name": "car"}],
    }
).encode()


def _label_files(folder: Path) -> Decoder:
    """A folder of each layout, with one picture; the spoiled file is its labels, or a mask."""
    mask = cv2.imencode(".png", picture()[:, :, 0] % 2)[1].tobytes()
    wholes = {"voc": _VOC, "yolo": b"1 .5 .5 .25 .5\n0 .4 .4 .1 .1\n", "mask": mask, "coco": _COCO}
    files = {
        "voc": folder / "voc/annotations/a.xml",
        "yolo": folder / "yolo/labels/a.txt",
        "mask": folder / "mask/masks/a.png",
        "coco": folder / "coco/coco.json",
    }
    for kind, path in files.items():
        path.parent.mkdir(parents=True)
        images = folder / kind / "images"
        images.mkdir(exist_ok=True)
        cv2.imwrite(str(images / "a.png"), picture())
    coco = files["coco"]
    readers: dict[str, Callable[[], object]] = {
        "voc": lambda: VocFolder(folder / "voc", CLASSES).read(0),
        "yolo": lambda: YoloFolder(folder / "yolo", CLASSES).read(0),
        "mask": lambda: MaskFolder(folder / "mask", CLASSES).read(0),
        "coco": lambda: [sample for sample in CocoFolder(coco.parent / "images", coco)],
    }
    order = list(files)

    def decode(data: bytes) -> None:
        if data:
            kind = order[data[0] % len(order)]
            files[kind].write_bytes(data[1:])
            readers[kind]()

    whole = [bytes([place]) + wholes[kind] for place, kind in enumerate(order)]
    return Decoder(decode, (ValueError,), whole)


def _write_bag(path: Path, plugin: str) -> Path:
    from rosbags.rosbag2 import StoragePlugin, Writer

    types, header = labelled_frame_types(), Header(frame_id="camera")
    version: Literal[8, 9] = 9 if plugin == "MCAP" else 8
    with Writer(path, version=version, storage_plugin=StoragePlugin[plugin]) as writer:
        labelled = writer.add_connection("/labelled_frames", MESSAGE, typestore=types)
        camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=types)
        for number in range(2):
            sample = Sample(picture(), 1)
            message = labelled_frame_to_msg(f"f{number}", Task.CLASSIFICATION, sample, header)
            writer.write(labelled, number, bytes(serialize_message(message)))
            writer.write(camera, number, bytes(serialize_message(rgb_to_image(picture(), header))))
    return path


def _bags(plugin: str, suffix: str) -> Callable[[Path], Decoder]:
    """The file of a bag, or its metadata.yaml."""

    def opened(folder: Path) -> Decoder:
        bag = _write_bag(folder / "bag", plugin)
        (file,) = bag.glob(f"*{suffix}")
        metadata = bag / "metadata.yaml"
        files = {path: path.read_bytes() for path in (file, metadata)}
        order = list(files)

        def decode(data: bytes) -> None:
            if not data:
                return
            spoiled = order[data[0] % len(order)]
            for path, content in files.items():
                path.write_bytes(data[1:] if path is spoiled else content)
            try:
                for frame in BagFrames(bag, "/camera"):
                    assert frame.image.ndim == 3
            finally:
                labelled = LabelledBag(bag)
                for task in labelled.names:
                    pictures = labelled.pictures(task, CLASSES)
                    read_all(pictures.jobs(range(len(pictures.names))), 1)

        whole = [bytes([place]) + files[path] for place, path in enumerate(order)]
        return Decoder(decode, (ValueError,), whole)

    return opened


TARGETS: Final = (
    Target("label-file", _label_files),
    Target("bag-mcap", _bags("MCAP", ".mcap")),
    Target("bag-sqlite3", _bags("SQLITE3", ".db3")),
)
