"""Recordings to replay: folders, videos and bags, each written here."""

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from miniatures import write_map, write_picture

from patchline_ros.datasets.bag import reading, recorded
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.datasets.recordings import open_frames
from patchline_ros.tasks import IGNORE, ClassMap, Image, Task

HEIGHT, WIDTH = 32, 48

CODES = {
    "bgr8": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGB2RGBA,
    "bgra8": cv2.COLOR_RGB2BGRA,
    "mono8": cv2.COLOR_RGB2GRAY,
    "16UC1": cv2.COLOR_RGB2GRAY,
}


def picture(index: int) -> Image:
    """A colour of its own for each frame, with a blue upper half."""
    image = np.full((HEIGHT, WIDTH, 3), (200, 12 * index, 10), dtype=np.uint8)
    image[: HEIGHT // 2] = (10, 12 * index, 220)
    return image


def lanes(class_id: int = 2, size: tuple[int, int] = (HEIGHT, WIDTH)) -> ClassMap:
    ids = np.full(size, class_id, dtype=np.uint8)
    ids[0] = IGNORE
    return ids


def write_video(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.ascontiguousarray(picture(index)[:, :, ::-1]))
    writer.release()


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in (0, 2, 10):
        write_picture(tmp_path / "drive" / f"frame{index}.png", picture(index))
    (tmp_path / "drive" / "notes.txt").write_text("not a picture")
    return tmp_path / "drive"


def test_a_folder_of_pictures(folder: Path) -> None:
    frames = open_frames(folder)
    assert len(frames) == 3
    # The second pass starts at the first frame again.
    assert [frame.name for frame in frames] == [frame.name for frame in frames]
    for frame, index in zip(frames, (0, 2, 10), strict=True):
        assert frame.name == f"frame{index}"
        assert frame.samples == {}
        assert np.array_equal(frame.image, picture(index))


def test_labels_go_to_the_frames_they_are_named_after(folder: Path, tmp_path: Path) -> None:
    write_map(tmp_path / "maps" / "frame2.png", lanes(3))
    frames = list(open_frames(folder, tmp_path / "maps"))
    assert [set(frame.samples) for frame in frames] == [set(), {Task.SEGMENTATION}, set()]
    sample = frames[1].samples[Task.SEGMENTATION]
    assert sample.image is frames[1].image
    assert isinstance(sample.label, np.ndarray)
    assert np.unique(sample.label).tolist() == [3, IGNORE]


def test_labels_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*maps"):
        open_frames(folder, tmp_path / "maps")
    write_map(tmp_path / "maps" / "frame2.png", lanes(size=(5, 6)))
    with pytest.raises(ValueError, match=r"frame2\.png is 6x5, its picture 48x32"):
        list(open_frames(folder, tmp_path / "maps"))
    write_map(tmp_path / "maps" / "frame3.png", lanes())
    with pytest.raises(ValueError, match=r"frame3\.png belongs to no frame; .* frame0 to frame10"):
        open_frames(folder, tmp_path / "maps")


def test_camvids_layout_is_recognised(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "0016E5_00001.png", picture(1))
    write_map(tmp_path / "labels" / "0016E5_00001.png", lanes())
    assert isinstance(open_frames(tmp_path), CamVid)
    with pytest.raises(ValueError, match="label maps of its own"):
        open_frames(tmp_path, tmp_path / "labels")


def test_what_is_no_recording(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.avi").write_text("no video")
    for path, complaint in {
        tmp_path / "nowhere": "no file or folder",
        tmp_path / "empty": "holds no picture",
        tmp_path / "notes.avi": "cannot open .* as a video",
        folder / "frame0.png": "is one picture",
        tmp_path / "nowhere.mcap": "there is no bag",
    }.items():
        with pytest.raises(ValueError, match=complaint):
            open_frames(path)
    with pytest.raises(ValueError, match="is no ROS bag"):
        open_frames(folder, topic="/image_raw")


# Videos


def test_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "drive.avi", 5)
    write_map(tmp_path / "maps" / "drive_000003.png", lanes())
    frames = open_frames(tmp_path / "drive.avi", tmp_path / "maps")
    assert len(frames) == 5
    for index, frame in enumerate(frames):
        assert frame.name == f"drive_{index:06d}"
        assert set(frame.samples) == ({Task.SEGMENTATION} if index == 3 else set())
        # MJPG compresses with loss.
        assert np.abs(frame.image.astype(int) - picture(index)).mean() < 8
    assert sum(1 for _ in frames) == 5


def test_a_video_that_ends_early_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = tmp_path / "drive.avi"
    write_video(video, 20)
    frames = open_frames(video)
    whole = video.read_bytes()
    video.write_bytes(whole[: whole.index(b"movi") + (len(whole) - whole.index(b"movi")) // 2])
    with caplog.at_level(logging.WARNING):
        read = len(list(frames))
    assert 0 < read < 20
    assert f"after {read} of the 20 frames" in caplog.text


# Bags


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag of topics: (name, encoding, padding of a row in bytes, pictures)."""
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    time, header, raw, compressed, text = (
        types.types[name]
        for name in (
            "builtin_interfaces/msg/Time",
            "std_msgs/msg/Header",
            "sensor_msgs/msg/Image",
            "sensor_msgs/msg/CompressedImage",
            "std_msgs/msg/String",
        )
    )
    stamp = header(time(0, 0), "camera_link")

    def message(encoding: str, padding: int, image: Image) -> Any:
        if encoding in ("jpeg", "png"):
            _, data = cv2.imencode(f".{encoding}", image[:, :, ::-1])
            return compressed(stamp, f"bgr8; {encoding} compressed bgr8", data.reshape(-1))
        pixels = np.asarray(image if encoding == "rgb8" else cv2.cvtColor(image, CODES[encoding]))
        padded = np.pad(pixels.reshape(HEIGHT, -1), ((0, 0), (0, padding)), constant_values=77)
        return raw(stamp, HEIGHT, WIDTH, encoding, 0, padded.shape[1], padded.ravel())

    def write(
        streams: list[tuple[str, str, int, list[Image]]],
        plugin: str = "MCAP",
        name: str = "drive",
        damage: dict[str, object] | None = None,
    ) -> Path:
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin[plugin]) as writer:
            chatter = writer.add_connection("/chatter", text.__msgtype__, typestore=types)
            writer.write(chatter, 0, types.serialize_cdr(text("no picture"), text.__msgtype__))
            for topic, encoding, padding, images in streams:
                kind = (compressed if encoding in ("jpeg", "png") else raw).__msgtype__
                connection = writer.add_connection(topic, kind, typestore=types)
                for index, image in enumerate(images):
                    sent = replace(message(encoding, padding, image), **(damage or {}))
                    writer.write(connection, index * 100_000_000, types.serialize_cdr(sent, kind))
        return tmp_path / name

    return write


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_a_bag_by_its_folder_or_its_file(
    write_bag: Callable[..., Path], tmp_path: Path, plugin: str
) -> None:
    pictures = [picture(index) for index in range(4)]
    bag = write_bag([("/image_raw", "bgr8", 0, pictures)], plugin)
    write_map(tmp_path / "maps" / "drive_000001.png", lanes())
    (file,) = [path for path in bag.iterdir() if path.name != "metadata.yaml"]
    for path in (bag, file):
        frames = open_frames(path, tmp_path / "maps")
        assert len(frames) == 4
        for index, frame in enumerate(frames):
            assert frame.name == f"drive_{index:06d}"
            assert set(frame.samples) == ({Task.SEGMENTATION} if index == 1 else set())
            assert np.array_equal(frame.image, pictures[index])


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["bgra8", "mono8", "png"])
def test_every_encoding(write_bag: Callable[..., Path], encoding: str, padding: int) -> None:
    image = picture(3)
    (frame,) = open_frames(write_bag([("/image_raw", encoding, padding, [image])]))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    expected = np.dstack([grey] * 3) if encoding == "mono8" else image
    assert np.array_equal(frame.image, expected)


def test_the_topic_can_be_chosen(write_bag: Callable[..., Path]) -> None:
    bag = write_bag(
        [("/left", "rgb8", 0, [picture(1)]), ("/right", "png", 0, [picture(2), picture(3)])]
    )
    assert len(open_frames(bag)) == 1
    right = open_frames(bag, topic="/right")
    assert [frame.image[0, 0, 1] for frame in right] == [24, 36]
    with pytest.raises(ValueError, match=r"no pictures on the topic /chatter; .*/left, /right"):
        open_frames(bag, topic="/chatter")


def test_bags_that_cannot_be_replayed(write_bag: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no topic of sensor_msgs/Image"):
        open_frames(write_bag([], name="words"))
    with pytest.raises(ValueError, match=r"holds no picture on /image_raw"):
        open_frames(write_bag([("/image_raw", "rgb8", 0, [])], name="silent"))
    depth = open_frames(write_bag([("/depth", "16UC1", 0, [picture(0)])], name="depth"))
    with pytest.raises(
        ValueError,
        match=r"depth_000000 on /depth .*'16UC1' is depth, no picture; choose another topic",
    ):
        list(depth)
    (tmp_path / "torn.mcap").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"cannot read the bag .*torn\.mcap"):
        open_frames(tmp_path / "torn.mcap")


def test_a_bag_without_metadata_names_what_can_be_read(
    write_bag: Callable[..., Path], tmp_path: Path
) -> None:
    bag = write_bag([("/image_raw", "rgb8", 0, [picture(0)])])
    (bag / "metadata.yaml").unlink()
    with pytest.raises(ValueError, match=r"was killed or still goes on: name its file .*\.mcap"):
        open_frames(bag)
    (file,) = bag.iterdir()
    assert len(open_frames(file)) == 1
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"`mcap recover .*drive\.mcap -o NEW\.mcap` saves what"):
        open_frames(file)


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_whatever_byte_of_a_bag_is_wrong_it_is_one_sentence(
    write_bag: Callable[..., Path], plugin: str
) -> None:
    bag = write_bag([("/image_raw", "rgb8", 0, [picture(0), picture(1)])], plugin)
    (file,) = [path for path in bag.iterdir() if path.name != "metadata.yaml"]
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    complaints = set()
    for number in range(200):
        data = bytearray(whole)
        # The index at the end of an mcap is what is read first.
        end = min(len(data), 900) if number % 2 else len(data)
        for place in rng.integers(1, end, 8):
            data[-place] = rng.integers(256)
        file.write_bytes(data)
        try:
            with reading(file) as reader:
                for _ in recorded(file, reader, reader.connections):
                    pass
        except ValueError as error:
            complaints.add(str(error).partition(f"cannot read the bag {file}: ")[2][:20])
    assert "" not in complaints and len(complaints) > 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"step": 100}, "the step is 100 bytes, but a row of 48 rgb8 pixels needs 144"),
        ({"height": 0}, "the picture is empty: 48 x 0"),
        ({"data": np.zeros(7, dtype=np.uint8)}, "has 7 bytes of data, but 32 rows of step 144"),
    ],
)
def test_a_damaged_picture_in_a_bag(
    write_bag: Callable[..., Path], fields: dict[str, object], complaint: str
) -> None:
    bag = write_bag([("/image_raw", "rgb8", 0, [picture(0)])], damage=fields)
    with pytest.raises(ValueError, match=rf"frame drive_000000 on /image_raw .*{complaint}"):
        list(open_frames(bag))


def test_without_rosbags_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drive.mcap").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(ModuleNotFoundError, match="pip install rosbags"):
        open_frames(tmp_path / "drive.mcap")
