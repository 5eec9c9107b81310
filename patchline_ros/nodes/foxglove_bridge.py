"""The bridge from ROS topics to Foxglove's WebSocket: messages go on as they are."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import cv2
from foxglove import Channel, Context, Schema, StatusLevel, start_server
from foxglove.websocket import ChannelView, Client, ServerListener
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from patchline_ros.messages.labels import ConversionError
from patchline_ros.messages.pictures import image_to_rgb
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import bytes_field
from patchline_ros.nodes.message_types import message_class, register
from patchline_ros.watch.door import Door
from patchline_ros.watch.page_server import Address, busy
from patchline_ros.watch.topics import COMPRESSED_IMAGE, PREVIEW, Watched
from patchline_ros.watch.websocket_door import WebSocketDoor, hidden_host

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

PREVIEW_HZ: Final = 10.0
PREVIEW_WIDTH: Final = 640
_PREVIEW_QUALITY: Final = 80
_BACKLOG: Final = 64
"""Messages that may wait for a slow client; raw pictures among them, so it bounds the memory."""
_LOG_AGAIN_SECONDS: Final = 5.0


def _channel(types: Typestore, topic: str, kind: str, context: Context) -> Channel:
    register(types, kind)
    text, _ = types.generate_msgdef(kind, ros_version=2)
    schema = Schema(name=kind, encoding="ros2msg", data=text.encode())
    return Channel(topic, schema=schema, message_encoding="cdr", context=context)


class Relay:
    """One topic, which is subscribed to only while a client watches one of its channels."""

    def __init__(self, topic: Watched, node: Node, types: Typestore, context: Context) -> None:
        """Raises ValueError when the message type is not built here."""
        self.topic = topic
        self._node = node
        self._kind = message_class(topic.type, topic.name)
        self._channel = _channel(types, topic.name, topic.type, context)
        self._preview: Channel | None = None
        if topic.preview:
            self._preview = _channel(types, topic.name + PREVIEW, COMPRESSED_IMAGE, context)
        self._subscription: Subscription[Any] | None = None
        self._last = b""
        self._previewed = 0.0

    def follow(self) -> None:
        """Subscribes when the first client comes, and ends that with the last one."""
        watched = self._channel.has_sinks() or self._previews()
        if watched and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._kind, self.topic.name, self._send, self._qos(), raw=True
            )
        elif not watched and self._subscription is not None:
            self.close()

    def repeat(self) -> None:
        """Sends a latched message again, for a client that came after it."""
        if self.topic.latched and self._last:
            self._channel.log(self._last)

    def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self._last = b""

    def _qos(self) -> QoSProfile:
        # Best effort for pictures: who watches must not hold up the one who publishes.
        if self.topic.picture:
            return qos.images()
        return qos.LATCHED if self.topic.latched else qos.RESULTS

    def _previews(self) -> bool:
        return self._preview is not None and self._preview.has_sinks()

    def _send(self, raw: bytes) -> None:
        if self.topic.latched:
            self._last = raw
        self._channel.log(raw)
        now = time.monotonic()
        if self._preview is not None and self._previews() and now > self._previewed:
            # Not `now + 1 / PREVIEW_HZ`: a camera of just that rate would lose every other picture.
            self._previewed = max(self._previewed, now - 1 / PREVIEW_HZ) + 1 / PREVIEW_HZ
            small = self._small(raw)
            if small:
                self._preview.log(small)

    def _small(self, raw: bytes) -> bytes:
        """The picture as a JPEG of at most PREVIEW_WIDTH pixels, b"" where it is unreadable."""
        msg = deserialize_message(raw, Image)
        try:
            picture = image_to_rgb(msg)
        except ConversionError as error:
            self._node.get_logger().error(
                f"picture on {self.topic.name} is not shown: {error}",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return b""
        height, width = picture.shape[:2]
        if width > PREVIEW_WIDTH:
            size = (PREVIEW_WIDTH, max(1, round(height * PREVIEW_WIDTH / width)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
        jpeg = CompressedImage(header=msg.header, format="jpeg", data=bytes_field(data.tobytes()))
        return serialize_message(jpeg)


class _Joined(ServerListener):
    """Notes who subscribes to what; called in a thread of the server."""

    def __init__(self) -> None:
        self.topics: queue.SimpleQueue[str] = queue.SimpleQueue()

    def on_subscribe(self, client: Client, channel: ChannelView) -> None:
        self.topics.put(channel.topic)


class FoxgloveBridge:
    """A WebSocket server with a channel for each topic, and for the small form of its pictures."""

    def __init__(self, topics: Sequence[Watched], node: Node, address: Address, name: str) -> None:
        """Listens from now on: the door at the address, and behind it the server.

        Raises:
            ValueError: the address can't be listened on, or a message type is not built here.
        """
        from rosbags.typesys import Stores, get_typestore

        types = get_typestore(Stores.EMPTY)
        # Kept: without it the channels are gone.
        self._context = context = Context()
        self._joined = _Joined()
        self._relays = {topic.name: Relay(topic, node, types, context) for topic in topics}
        self._said: dict[str, str] = {}
        behind = Address(hidden_host(), 0)
        try:
            self._server = start_server(
                name=name,
                host=behind.host,
                port=behind.port,
                server_listener=self._joined,
                context=context,
                message_backlog_size=_BACKLOG,
            )
        except RuntimeError as error:
            raise busy("--websocket-port", behind, error) from error
        try:
            there = Address(behind.host, self._server.port)
            self._door = WebSocketDoor(address, there, Door(address.host).check_websocket)
        except ValueError:
            self._server.stop()
            raise
        self.port = self._door.port

    def follow(self) -> None:
        """Called often, in the thread of the node: subscribes to what the clients watch now."""
        for relay in self._relays.values():
            relay.follow()
        while not self._joined.topics.empty():
            topic = self._joined.topics.get()
            if topic in self._relays:
                self._relays[topic].repeat()

    def say(self, troubles: dict[str, str]) -> None:
        """Shows sentences by id to all clients of now, and takes back those that are gone."""
        gone = [name for name in self._said if name not in troubles]
        if gone:
            self._server.remove_status(gone)
        for name, sentence in troubles.items():
            self._server.publish_status(sentence, StatusLevel.Warning, name)
        self._said = dict(troubles)

    def close(self) -> None:
        """Ends the connections and the subscriptions."""
        self._door.close()
        self._server.stop()
        for relay in self._relays.values():
            relay.close()
