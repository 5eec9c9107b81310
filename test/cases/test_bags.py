"""Bags of pictures as recorders, disks and people leave them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchline_ros.datasets.recordings import open_frames
from patchline_ros.demo.drive import Recording, frames_of
from patchline_ros.demo.options import DemoOptions, OptionError, check_options
from patchline_ros.tasks import Image

pytest.importorskip("rosbags", reason="bags need the package rosbags")
COUNT, HEIGHT, WIDTH = 4, 8, 12
RAW = "sensor_msgs/msg/Image"


def picture(number: int) -> Image:
    return np.full((HEIGHT, WIDTH, 3), (200, 40, number), dtype=np.uint8)


def write_bag(
    path: Path, topics: dict[str, str], plugin: str = "MCAP", compression: str = ""
) -> Path:
    """Pictures on topics, by their encoding."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    time, header, image = (
        types.types[name] for name in ("builtin_interfaces/msg/Time", "std_msgs/msg/Header", RAW)
    )
    writer = Writer(
        path,
        version=9 if plugin == "MCAP" else 8,
        storage_plugin=StoragePlugin[plugin],
    )
    if compression:
        writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        for topic, encoding in topics.items():
            connection = writer.add_connection(topic, RAW, typestore=types)
            for number in range(COUNT):
                pixels = picture(number)
                if encoding == "16UC1":
                    pixels = np.full((HEIGHT, 2 * WIDTH), 5, dtype=np.uint8)
                data = pixels.reshape(-1)
                step = data.size // HEIGHT
                sent = image(header(time(0, 0), ""), HEIGHT, WIDTH, encoding, 0, step, data)
                writer.write(connection, number * 10**8, types.serialize_cdr(sent, RAW))
    return path


def edited(old: str, new: str) -> Callable[[Path], None]:
    """metadata.yaml with other words."""

    def edit(bag: Path) -> None:
        file = bag / "metadata.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return edit


def with_windows_lines(bag: Path) -> None:
    file = bag / "metadata.yaml"
    text = file.read_text().replace("\n", "\r\n")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())


def without_msg(bag: Path) -> None:
    """As the recorder of Crystal wrote types."""
    with sqlite3.connect(bag / "drive.db3") as file:
        file.execute("update topics set type = 'sensor_msgs/Image'")
    edited(RAW, "sensor_msgs/Image")(bag)


def emptied(bag: Path) -> None:
    with sqlite3.connect(bag / "drive.db3") as file:
        file.execute("delete from messages")


def split(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    shutil.copy(bag / "drive.db3", bag / "drive_1.db3")


def pointer(bag: Path) -> None:
    (file,) = bag.glob("drive.*")
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")


def nothing(bag: Path) -> None:
    """It stays as it is."""


@pytest.mark.parametrize(
    ("plugin", "compression", "change"),
    [
        ("MCAP", "", nothing),
        ("MCAP", "STORAGE", nothing),
        ("MCAP", "", with_windows_lines),
        ("SQLITE3", "FILE", nothing),
        ("SQLITE3", "MESSAGE", nothing),
        ("SQLITE3", "", without_msg),
    ],
)
def test_bags_that_are_read(
    plugin: str, compression: str, change: Callable[[Path], None], tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "drive", {"/image_raw": "rgb8"}, plugin, compression)
    change(bag)
    frames = list(open_frames(bag))
    assert [frame.name for frame in frames] == [f"drive_{i:06d}" for i in range(COUNT)]
    assert all(np.array_equal(f.image, picture(i)) for i, f in enumerate(frames))


def test_the_first_topic_of_colour(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", {"/depth": "16UC1", "/left": "rgb8", "/right": "bgr8"})
    assert [frame.image[0, 0].tolist() for frame in open_frames(bag)][2] == [200, 40, 2]
    assert next(iter(open_frames(bag, topic="/right"))).image[0, 0].tolist() == [0, 40, 200]
    with pytest.raises(ValueError, match=r"on /depth .*'16UC1' is depth, no picture"):
        list(open_frames(bag, topic="/depth"))


@pytest.mark.parametrize(
    ("plugin", "compression", "change", "sentence"),
    [
        ("SQLITE3", "", emptied, "counts 4 messages on /image_raw, but 0 are there; name its file"),
        ("MCAP", "", edited("message_count: 4", "message_count: 3"), "counts 3 messages .* but 4"),
        ("MCAP", "", edited("message_count: 4", "message_count: 5"), "counts 5 messages .* but 4"),
        (
            "MCAP",
            "",
            pointer,
            r"drive.mcap is a pointer of git-lfs and no recording: `git lfs pull",
        ),
        ("MCAP", "", edited("identifier: mcap", "identifier: ''"), "; name its file .*drive.mcap"),
        ("MCAP", "", edited("version: 9", "version: 10"), "; name its file .*drive.mcap instead"),
        ("SQLITE3", "", split, r"name one of its 2 files instead \(.*drive.db3, .*drive_1.db3\)"),
        (
            "SQLITE3",
            "FILE",
            lambda bag: (bag / "metadata.yaml").unlink(),
            "drive.db3.zstd is compressed: name its folder, .* or unpack it with `zstd -d .*zstd`",
        ),
    ],
)
def test_bags_that_are_refused(
    plugin: str,
    compression: str,
    change: Callable[[Path], None],
    sentence: str,
    tmp_path: Path,
) -> None:
    bag = write_bag(tmp_path / "drive", {"/image_raw": "rgb8"}, plugin, compression)
    change(bag)
    with pytest.raises(ValueError, match=sentence):
        list(open_frames(bag))


@pytest.mark.parametrize("place", ["drive.bag", "."])
def test_ros_1(place: str, tmp_path: Path) -> None:
    (tmp_path / "drive.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(
        ValueError, match=r"drive.bag is of ROS 1: convert it with `rosbags-convert"
    ):
        open_frames(tmp_path / place)


def test_a_drive_keeps_the_topic_that_was_named(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", {"/left": "rgb8", "/right": "bgr8"})
    recording = Recording(path=bag, topic="/right", names=("drive_000003",))
    assert [frame.image[0, 0].tolist() for frame in frames_of(recording)] == [[3, 40, 200]]
    options = DemoOptions(tmp_path / "out", "fog", 6.0, 0, topic="/right")
    with pytest.raises(OptionError, match="--topic goes with --frames, which is missing"):
        check_options(options)
