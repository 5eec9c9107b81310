"""rosbag2 recordings as frames, read without ROS by the optional package rosbags."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchline_ros.datasets.bag_files import bag_files, check_files, instead, most_messages
from patchline_ros.messages.pictures import compressed_to_rgb, image_to_rgb, is_depth
from patchline_ros.tasks import Frame, Image

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader
    from rosbags.typesys.store import Typestore

_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"

_DAMAGE = (
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What comes out of rosbags, beside its own errors, where bytes of a bag are not what they were:
sizes, offsets and texts are used as they stand there."""
_FOREIGN_DAMAGE = (
    ("apsw", "Error"),
    ("backports.zstd", "ZstdError"),
    ("compression.zstd", "ZstdError"),
)
"""The same, of the packages that rosbags reads with; which of them are there depends on Python."""


class BagFrames:
    """The pictures of one topic as unlabelled frames named `<name of the bag>_<number from 0>`.

    They come in the order in which they were recorded.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Find the topic: the named one, or the first that carries pictures and no depth.

        Raises ModuleNotFoundError where the package rosbags is not installed, and ValueError where
        the bag cannot be read, or has no such topic, or no picture on it.
        """
        self._path = path
        with reading(path) as reader:
            images = [c for c in reader.connections if type_of(c) in (_RAW, _COMPRESSED)]
            topics = list(dict.fromkeys(connection.topic for connection in images))
            if not topics:
                raise ValueError(f"the bag {path} has no topic of sensor_msgs/Image to replay")
            if topic is not None and topic not in topics:
                raise ValueError(
                    f"the bag {path} has no pictures on the topic {topic}; it has them on "
                    f"{', '.join(topics)}"
                )
            self._topic = topic or _colour_first(path, reader, images)
            length = sum(c.msgcount for c in images if c.topic == self._topic)
        if not length:
            raise ValueError(
                f"the bag {path} holds no picture on {self._topic}; it has the image topics "
                f"{', '.join(topics)}"
            )
        self._bag = path.resolve().name if path.is_dir() else path.stem
        self.names: tuple[str, ...] = tuple(f"{self._bag}_{i:06d}" for i in range(length))

    def __len__(self) -> int:
        """Number of pictures on the topic."""
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the first on; ValueError names the frame that cannot be decoded."""
        from rosbags.serde import SerdeError

        types = _image_types()
        with reading(self._path) as reader:
            connections = [c for c in reader.connections if c.topic == self._topic]
            messages = recorded(self._path, reader, connections)
            for number, (connection, _, raw) in enumerate(messages):
                name = f"{self._bag}_{number:06d}"
                kind = type_of(connection)
                try:
                    message = types.deserialize_cdr(raw, kind)
                    image = _rgb(message, kind)
                except (SerdeError, ValueError) as error:
                    raise ValueError(
                        f"frame {name} on {self._topic} of the bag {self._path}: {error}"
                    ) from error
                yield Frame(name, image, {})


def _rgb(message: Any, kind: str) -> Image:
    return compressed_to_rgb(message) if kind == _COMPRESSED else image_to_rgb(message)


def type_of(connection: Connection) -> str:
    """Message type of a topic; the first recorders of ROS 2 left `/msg/` out."""
    package, _, name = connection.msgtype.replace("/msg/", "/").partition("/")
    return f"{package}/msg/{name}"


def _colour_first(path: Path, reader: Reader, images: list[Connection]) -> str:
    """The first topic that does not begin with depth; the first of all where all do."""
    from rosbags.serde import SerdeError

    types = _image_types()
    topics = list(dict.fromkeys(c.topic for c in images if c.msgcount)) or [images[0].topic]
    for topic in topics if len(topics) > 1 else []:
        connections = [c for c in images if c.topic == topic]
        for connection, _, raw in recorded(path, reader, connections):
            try:
                message: Any = types.deserialize_cdr(raw, type_of(connection))
            except (SerdeError, ValueError):  # Said when it is read.
                return topic
            raw_kind = type_of(connection) == _RAW
            if not is_depth(message.encoding if raw_kind else message.format):
                return topic
            break
    return topics[0]


def _image_types() -> Typestore:
    """The two image types are the same in every ROS 2, whichever the bag is of."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


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
        from rosbags.rosbag2 import Reader
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the bag {path} needs the package rosbags to be read: pip install rosbags"
        ) from error
    check_files(path)
    try:
        reader = Reader(path)
        reader.open()
    except _damage() as error:
        raise ValueError(_unreadable(path, error)) from error
    try:
        _check_counts(path, reader)
        yield reader
    finally:
        reader.close()


def _check_counts(path: Path, reader: Reader) -> None:
    """Raises ValueError for counts of messages that no bag of this size has."""
    most = most_messages(path)
    for connection in reader.connections:
        count: object = connection.msgcount
        if not isinstance(count, int) or not 0 <= count <= most:
            raise ValueError(
                f"cannot read the bag {path}: it counts {str(count)[:40]} messages on "
                f"{connection.topic}; name its file instead of its folder, or write metadata.yaml "
                "anew by `ros2 bag reindex`"
            )


def recorded(
    path: Path, reader: Reader, connections: Collection[Connection], start_ns: int | None = None
) -> Iterator[tuple[Connection, int, bytes]]:
    """Connection, time of the recording in nanoseconds and raw message, in the order of time.

    Args:
        path: of the bag, for the message of an error.
        reader: of the bag.
        connections: of the bag that are read.
        start_ns: time of the first message; None: the begin of the bag.

    Raises:
        ValueError: the bag is damaged, or can't be read any more; or, at its end, it has other
            messages than it counts, where they are read from the begin on.
    """
    count = 0
    messages = reader.messages(connections=connections, start=start_ns)
    while True:
        try:
            message = next(messages, None)
        except _damage() as error:
            raise ValueError(_unreadable(path, error)) from error
        if message is None:
            break
        count += 1
        yield message
    counted = sum(connection.msgcount for connection in connections)
    if count != counted and (not count or start_ns is None):
        topics = ", ".join(sorted({connection.topic for connection in connections}))
        raise ValueError(
            f"cannot read the bag {path}: it counts {counted} messages on {topics}, but {count} "
            "are there; name its file instead of its folder, or write metadata.yaml anew by "
            "`ros2 bag reindex`"
        )


def recorded_hash(connection: Connection) -> str:
    """RIHS01 hash of the recorded message type; empty where the bag does not say what it was."""
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import (
        Stores,
        TypesysError,
        get_types_from_idl,
        get_types_from_msg,
        get_typestore,
    )

    text = connection.msgdef.data
    if connection.msgdef.format is MessageDefinitionFormat.NONE or not text:
        return connection.digest
    recorded = get_typestore(Stores.EMPTY)
    try:
        if connection.msgdef.format is MessageDefinitionFormat.IDL:
            recorded.register(get_types_from_idl(text))
        else:
            recorded.register(get_types_from_msg(text, connection.msgtype))
        # The digest is ROS's own; of two definitions, both hashes are made here.
        return recorded.hash_rihs01(connection.msgtype)
    except (TypesysError, KeyError):  # KeyError: a type that it is made of is not in it
        return connection.digest


def _damage() -> tuple[type[Exception], ...]:
    """What a bag that is not whole raises while it is read."""
    from rosbags.rosbag2 import ReaderError

    kinds: list[type[Exception]] = [ReaderError, *_DAMAGE]
    for module, name in _FOREIGN_DAMAGE:
        with suppress(ModuleNotFoundError):
            kinds.append(getattr(importlib.import_module(module), name))
    return tuple(kinds)


def _unreadable(path: Path, error: Exception) -> str:
    from rosbags.rosbag2 import ReaderError

    own = isinstance(error, ReaderError)
    why = str(error) if own else f"it is damaged ({type(error).__name__}: {error})"
    advice = ""
    if own and path.is_dir() and bag_files(path) and ("not supported" in why or "metadata" in why):
        advice = instead(path)
    elif path.suffix == ".mcap":
        advice = f"; `mcap recover {path} -o NEW.mcap` saves what a killed recording has written"
    return f"cannot read the bag {path}: {why.rstrip('.')}{advice}"
