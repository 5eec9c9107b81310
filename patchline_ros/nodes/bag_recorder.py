"""Records topics of the graph into a bag (mcap), raw, with the quality of service they offer."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from patchline_ros.nodes.message_types import message_class, register

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos

DEPTH: Final = 100
"""Messages of a topic that may wait to be written."""
LOOK_SECONDS: Final = 0.25
"""Seconds between two looks for new topics."""
FLUSH_SECONDS: Final = 1.0
"""Seconds of messages that a killed recorder loses at most."""
KEPT_FREE: Final = 64 << 20
"""Bytes of the disk that are left for the bag's end: the last messages and the index, about 300
bytes for each MiB. Without an index a bag can't be read."""
_ENDLESS: Final = (2**31 - 1, 4_294_967_295)
"""Seconds and nanoseconds of a deadline that is none."""


@dataclass(frozen=True)
class RecordOptions:
    """What is recorded.

    Attributes:
        bag: new folder.
        topics: full names; empty: every topic that somebody publishes.
    """

    bag: Path
    topics: tuple[str, ...] = ()


def as_recorded(profile: QoSProfile) -> Qos:
    """What a publisher offers, as a bag keeps it."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    endless = QosTime(*_ENDLESS)
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=profile.depth or DEPTH,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=endless,
        lifespan=endless,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=endless,
        avoid_ros_namespace_conventions=False,
    )


def hears_all(profiles: Sequence[QoSProfile]) -> QoSProfile:
    """A subscription that every one of these publishers reaches."""
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class BagRecorder:
    """Writes what is published into a bag, from when `look` finds a topic until `close`."""

    def __init__(self, options: RecordOptions, node: Node) -> None:
        """Makes the bag's folder.

        Raises:
            ValueError: the folder exists or can't be made.
        """
        from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
        from rosbags.rosbag2.storage_mcap import McapWriter
        from rosbags.typesys import Stores, get_typestore

        self._options, self._node = options, node
        self._types = get_typestore(Stores.EMPTY)
        self._subscriptions: dict[str, Subscription[Any]] = {}
        self.refused: dict[str, str] = {}
        """Topics that can't be recorded, and why."""
        self.written: dict[str, int] = {}
        """Messages of each topic so far."""
        try:
            self._writer = Writer(options.bag, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
            storage = self._writer.storage
            assert isinstance(storage, McapWriter)
            self._storage = storage
        except (WriterError, OSError) as error:
            raise ValueError(f"the bag {options.bag} can't be made: {error}") from error

    def look(self) -> None:
        """Subscribes to topics that are new."""
        for topic, types in self._node.get_topic_names_and_types():
            wanted = topic in self._options.topics if self._options.topics else True
            if not wanted or topic in self._subscriptions or topic in self.refused:
                continue
            offers = self._node.get_publishers_info_by_topic(topic)
            if offers:
                self._subscribe(topic, types[0], [offer.qos_profile for offer in offers])

    @property
    def hopeless(self) -> bool:
        """Whether every topic that was asked for is refused."""
        asked = self._options.topics
        return bool(asked) and self.refused.keys() >= set(asked)

    @property
    def missing(self) -> list[str]:
        """Topics that were asked for and that nobody has published yet."""
        known = {*self._subscriptions, *self.refused}
        return [topic for topic in self._options.topics if topic not in known]

    def flush(self) -> None:
        """Hands all messages so far to the operating system: they outlast a kill of this process.

        Raises:
            OSError: the disk refuses them.
        """
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self) -> None:
        """Stops listening and finishes the bag.

        Raises:
            OSError: the disk refuses the bag's end.
        """
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        try:
            self._writer.close()
        except OSError as error:
            with suppress(OSError):  # it would write the same once more
                self._writer.abort()
            raise OSError(
                error.errno,
                f"{error.strerror}, so it has no index; `mcap recover {self._storage.path} -o "
                "NEW.mcap` makes one",
            ) from error

    def discard(self) -> None:
        """Removes a closed bag in which there is no message."""
        shutil.rmtree(self._options.bag)

    def _subscribe(self, topic: str, name: str, offers: list[QoSProfile]) -> None:
        try:
            kind = message_class(name, topic)
            register(self._types, name)
        except ValueError as error:
            self.refused[topic] = str(error)
            return
        connection = self._writer.add_connection(
            topic,
            name,
            typestore=self._types,
            offered_qos_profiles=[as_recorded(profile) for profile in offers],
        )
        self.written[topic] = 0
        write: Callable[[bytes], None] = partial(self._write, connection)
        self._subscriptions[topic] = self._node.create_subscription(
            kind, topic, write, hears_all(offers), raw=True
        )

    def _write(self, connection: Connection, raw: bytes) -> None:
        if shutil.disk_usage(self._options.bag).free < KEPT_FREE + 2 * len(raw):
            raise OSError(errno.ENOSPC, f"less than {KEPT_FREE >> 20} MiB are left on it")
        now = self._node.get_clock().now().nanoseconds
        self._writer.write(connection, now, raw)
        self.written[connection.topic] += 1
