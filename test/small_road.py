"""Small recordings of the simulated road, as somebody's own pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.tasks import Task

IMAGE = "sensor_msgs/msg/Image"


def write_labelled(folder: Path, seed: int, weather: Condition, count: int) -> None:
    """`images` and `masks` of a drive, 96 x 128 pixels each."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    road = RoadSimulator(seed, (96, 128))
    for number in range(count):
        frame = road.frame(20 * number, weather)
        mask = frame.samples[Task.SEGMENTATION].label
        assert cv2.imwrite(str(folder / "images" / f"{number:03}.png"), frame.image[..., ::-1])
        assert cv2.imwrite(str(folder / "masks" / f"{number:03}.png"), mask)


def write_video(path: Path, seed: int, clear: int, fog: int) -> None:
    """A drive of so many clear frames, and then so many in fog."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 6.0, (256, 192))
    road = RoadSimulator(seed, (192, 256))
    for number in range(clear + fog):
        weather = Condition.CLEAR if number < clear else Condition.FOG
        writer.write(road.frame(5 * number, weather).image[..., ::-1].copy())
    writer.release()


def write_bag(folder: Path, topic: str, seed: int, clear: int, fog: int) -> None:
    """The same as a ROS 2 bag (mcap) of pictures on a topic."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    image, header, time = (
        types.types[name] for name in (IMAGE, "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    road = RoadSimulator(seed, (192, 256))
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, IMAGE, typestore=types)
        for number in range(clear + fog):
            weather = Condition.CLEAR if number < clear else Condition.FOG
            pixels = road.frame(5 * number, weather).image
            height, width = pixels.shape[:2]
            stamp = header(time(1 + number, 0), "camera")
            sent = image(stamp, height, width, "rgb8", 0, 3 * width, pixels.reshape(-1))
            nanoseconds = (1 + number) * 10**9
            writer.write(connection, nanoseconds, types.serialize_cdr(sent, IMAGE))
