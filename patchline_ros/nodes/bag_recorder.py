"""Records topics of the graph into a bag (mcap), raw, with the quality of service they offer."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from patchline_ros.nodes.bag_player import message_class

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos
    from rosbags.typesys.store import Typestore

DEPTH: Final = 100
"""Messages of a topic that may wait to be written."""
LOOK_SECONDS: Final = 0.25
"""Between two looks for new topics."""
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


def register(types: Typestore, name: str) -> None:
    """Adds a message type and all that it is made of, from the installed .msg files.

    Raises:
        ValueError: there is no such file, or it was changed since the message was built.
    """
    from rosbags.interfaces import Nodetype
    from rosbags.typesys import get_types_from_msg

    if name in types.types:
        return
    package, _, message = name.partition("/msg/")
    try:
        file = Path(get_package_share_directory(package), "msg", f"{message}.msg")
        parsed = get_types_from_msg(file.read_text(encoding="utf-8"), name)
    except (PackageNotFoundError, OSError) as error:
        raise ValueError(f"the definition of {name} is not installed here: {error}") from error
    fields = parsed[name][1]
    built = getattr(importlib.import_module(f"{package}.msg"), message)
    if fields and [field for field, _ in fields] != [*built.get_fields_and_field_types()]:
        raise ValueError(f"the definition of {name} was changed since it was built: build it again")
    for _, kind in fields:
        while kind[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind = kind[1][0]
        if kind[0] is Nodetype.NAME:
            register(types, kind[1])
    types.register(parsed)


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
    def missing(self) -> list[str]:
        """Topics that were asked for and that nobody has published yet."""
        return [topic for topic in self._options.topics if topic not in self._subscriptions]

    def close(self) -> None:
        """Stops listening and finishes the bag."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._writer.close()

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
        now = self._node.get_clock().now().nanoseconds
        self._writer.write(connection, now, raw)
        self.written[connection.topic] += 1
