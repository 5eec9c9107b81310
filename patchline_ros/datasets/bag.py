"""rosbag2 recordings as frames, read without ROS by the optional package rosbags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from patchline_ros.tasks import Frame, Image

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader

BAG_SUFFIXES = (".mcap", ".db3")
"""Endings of the files that rosbag2 keeps messages in."""

_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"

_ENCODINGS = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
}
"""Channels, and the conversion to RGB, of each encoding of sensor_msgs/Image that is read."""


class BagFrames:
    """The pictures of one topic as unlabelled frames named `<name of the bag>_<number from 0>`.

    They come in the order in which they were recorded.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Find the topic: the named one, or the first that carries pictures.

        Raises ModuleNotFoundError where the package rosbags is not installed, and ValueError where
        the bag cannot be read, or has no such topic, or no picture on it.
        """
        self._path = path
        with reading(path) as reader:
            images = [c for c in reader.connections if c.msgtype in (_RAW, _COMPRESSED)]
            topics = list(dict.fromkeys(connection.topic for connection in images))
            if not topics:
                raise ValueError(f"the bag {path} has no topic of sensor_msgs/Image to replay")
            if topic is not None and topic not in topics:
                raise ValueError(
                    f"the bag {path} has no pictures on the topic {topic}; it has them on "
                    f"{', '.join(topics)}"
                )
            self._topic = topics[0] if topic is None else topic
            length = sum(c.msgcount for c in images if c.topic == self._topic)
        if not length:
            raise ValueError(
                f"the bag {path} holds no picture on {self._topic}; it has the image topics "
                f"{', '.join(topics)}"
            )
        bag = path.resolve().name if path.is_dir() else path.stem
        self.names: tuple[str, ...] = tuple(f"{bag}_{i:06d}" for i in range(length))

    def __len__(self) -> int:
        """Number of pictures on the topic."""
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the first on; ValueError names the frame that cannot be decoded."""
        from rosbags.serde import SerdeError
        from rosbags.typesys import Stores, get_typestore

        # The two image types are the same in every ROS 2, so neither the distribution nor the
        # definitions of other messages in the bag matter.
        types = get_typestore(Stores.ROS2_HUMBLE)
        with reading(self._path) as reader:
            connections = [c for c in reader.connections if c.topic == self._topic]
            messages = reader.messages(connections=connections)
            for name, (connection, _, raw) in zip(self.names, messages, strict=True):
                try:
                    message = types.deserialize_cdr(raw, connection.msgtype)
                    decode = _raw_rgb if connection.msgtype == _RAW else _compressed_rgb
                    image = decode(message)
                except (SerdeError, ValueError) as error:
                    raise ValueError(
                        f"frame {name} on {self._topic} of the bag {self._path}: {error}"
                    ) from error
                yield Frame(name, image, {})


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """The bag, opened.

    Raises:
        ValueError: there is none, or it can't be read.
        ModuleNotFoundError: the package rosbags is not installed.
    """
    if not path.exists():
        raise ValueError(f"there is no bag {path}")
    try:
        from rosbags.rosbag2 import Reader, ReaderError
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the bag {path} needs the package rosbags to be read: pip install rosbags"
        ) from error
    try:
        with Reader(path) as reader:
            yield reader
    except ReaderError as error:
        raise ValueError(f"cannot read the bag {path}: {error}") from error


def _raw_rgb(message: Any) -> Image:
    """A sensor_msgs/Image as RGB; its rows may be padded, `step` bytes each."""
    if message.encoding not in _ENCODINGS:
        raise ValueError(
            f"the encoding {message.encoding!r} is not one of {', '.join(_ENCODINGS)}; "
            "choose another topic"
        )
    channels, conversion = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if not (height > 0 and 0 < width * channels <= step and message.data.size == height * step):
        raise ValueError(
            f"{message.data.size} bytes with step {step} are no {width}x{height} picture in "
            f"{message.encoding}"
        )
    rows = message.data.reshape(height, step)[:, : width * channels]
    pixels = np.ascontiguousarray(rows).reshape(height, width, channels)
    rgb = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.asarray(rgb, dtype=np.uint8)


def _compressed_rgb(message: Any) -> Image:
    """A sensor_msgs/CompressedImage (JPEG or PNG) as RGB."""
    bgr = cv2.imdecode(message.data, cv2.IMREAD_COLOR) if message.data.size else None
    if bgr is None:
        raise ValueError(f"its {message.data.size} bytes ({message.format!r}) cannot be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
