"""Plays a bag into the graph: its raw messages with their stamps, and the time of the recording."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from rosgraph_msgs.msg import Clock

from patchline_ros.datasets.bag import reading, recorded
from patchline_ros.graph.description import is_output
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp
from patchline_ros.nodes.declared_parameters import declare
from patchline_ros.nodes.message_types import check_definition, message_class
from patchline_ros.nodes.node_main import RunnableNode, run
from patchline_ros.nodes.parameters import BAG_PLAYER
from patchline_ros.word_lists import comma_separated

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos

CLOCK_SECONDS: Final = 0.01
"""Seconds of the machine's time between two messages on /clock."""
CLOCK: Final = "/clock"
LISTENER_SECONDS: Final = 5.0
"""Most seconds to wait for those who listen: what is sent before is lost."""
_POLL_SECONDS: Final = 0.25
_SETTLE_SECONDS: Final = 1.0
"""Seconds in which nodes that are active find each other, and in which the last messages arrive."""
_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class ReplayOptions:
    """What is played, and how.

    Attributes:
        bag: folder or file of rosbag2, sqlite3 or mcap.
        topics: of the bag; empty: all.
        rate: seconds of the recording for each second.
        start: seconds of the recording that are left out.
        loop: from the start again at the end, until it is stopped.
        clock: also publish the time of the recording on /clock.
    """

    bag: Path
    topics: tuple[str, ...] = ()
    rate: float = 1.0
    start: float = 0.0
    loop: bool = False
    clock: bool = True


def offered(profiles: Collection[Qos]) -> QoSProfile:
    """What the first of the recorded publishers offered; what it left open is reliable, volatile.

    A player that is reliable reaches every subscriber that the recorded one reached.
    """
    from rosbags.interfaces import QosDurability, QosReliability

    first = next(iter(profiles), None)
    best_effort = first is not None and first.reliability is QosReliability.BEST_EFFORT
    latched = first is not None and first.durability is QosDurability.TRANSIENT_LOCAL
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        # 0: the recorded publisher left it to its middleware, or kept all.
        depth=first.depth if first and 0 < first.depth < 1000 else qos.RESULTS.depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def inputs_of(bag: Path) -> tuple[str, ...]:
    """Topics of the bag that a running graph may hear again: all but those that it publishes.

    Its own results a second time, or patch sets of another drive, would be taken for new ones.

    Raises:
        ValueError: a bag that can't be read, or that has nothing but results.
    """
    with reading(bag) as reader:
        recorded = {c.topic for c in reader.connections if c.msgcount}
    inputs = tuple(sorted(topic for topic in recorded if not is_output(topic)))
    if recorded and not inputs:
        raise ValueError(
            f"the bag {bag} holds only what the graph itself publishes: record the camera, too"
        )
    return inputs


def to_play(options: ReplayOptions) -> tuple[list[Connection], int]:
    """What of the bag is played, and the recorded time in nanoseconds at which that begins.

    Raises:
        ValueError: a bag that can't be read or has no messages, a topic that it lacks, a message
            type that is not known here or has other fields, a start behind its end, or nothing but
            a clock beside the player's own.
    """
    with reading(options.bag) as reader:
        connections = [c for c in reader.connections if c.msgcount]
        if not connections:
            raise ValueError(f"the bag {options.bag} holds no message")
        recorded = sorted({c.topic for c in connections})
        missing = [topic for topic in options.topics if topic not in recorded]
        if missing:
            raise ValueError(
                f"the bag {options.bag} has no messages on {missing[0]}; it has them on "
                f"{', '.join(recorded)}"
            )
        begin_ns = reader.start_time + round(options.start * _NS)
        if begin_ns >= reader.end_time:
            raise ValueError(
                f"the bag {options.bag} lasts {reader.duration / _NS:.1f} s; there is nothing "
                f"to play from {options.start:g} s on"
            )
    # A recorded clock would run beside the one that goes with the messages.
    played = set(options.topics or recorded) - ({CLOCK} if options.clock else set())
    found = [c for c in connections if c.topic in played]
    if not found:
        raise ValueError(
            f"of the bag {options.bag} there is nothing to play but {CLOCK}; --no-clock plays "
            "the recorded one"
        )
    for connection in found:
        message_class(connection.msgtype, connection.topic)
        check_definition(connection)
    return found, begin_ns


class BagPlayer:
    """A bag whose topics are published by a node."""

    def __init__(self, options: ReplayOptions, node: Node) -> None:
        """Makes a publisher for each topic. Raises ValueError as `to_play` does."""
        self._options = options
        self._connections, self._begin_ns = to_play(options)
        self._node = node
        self._publishers = {c.id: self._publisher(node, c) for c in self._connections}
        self._clock = node.create_publisher(Clock, CLOCK, qos.RESULTS) if options.clock else None
        self.sent = 0
        """Messages so far."""

    @staticmethod
    def _publisher(node: Node, connection: Connection) -> Publisher[Any]:
        kind = message_class(connection.msgtype, connection.topic)
        profiles = getattr(connection.ext, "offered_qos_profiles", [])
        return node.create_publisher(kind, connection.topic, offered(profiles))

    @property
    def topics(self) -> list[str]:
        """What is played."""
        return sorted({connection.topic for connection in self._connections})

    def heard(self) -> bool:
        """Somebody listens to one of the topics."""
        return any(publisher.get_subscription_count() for publisher in self._publishers.values())

    def _everyone_is_reached(self) -> bool:
        """Somebody listens, and all that are known to listen are sent to.

        A subscription is known a moment before messages go to it: seconds on a busy machine.
        """
        known = self._node.count_subscribers
        publishers = self._publishers.values()
        return self.heard() and all(
            publisher.get_subscription_count() >= known(publisher.topic_name)
            for publisher in publishers
        )

    def play(self, stop: threading.Event, report: Callable[[float], None] = lambda _: None) -> None:
        """Plays to the end, or until it is stopped.

        Args:
            stop: ends it.
            report: told the seconds of the recording that have been played, with each message.

        Raises:
            ValueError: the bag can't be read any more.
        """
        waited = time.monotonic() + LISTENER_SECONDS
        while not self._everyone_is_reached() and time.monotonic() < waited and not stop.is_set():
            stop.wait(0.05)
        while not stop.is_set():
            self._play_once(stop, report)
            if not self._options.loop:
                return

    def _play_once(self, stop: threading.Event, report: Callable[[float], None]) -> None:
        started = time.monotonic()
        for connection, stamp_ns, raw in self._messages():
            due = started + (stamp_ns - self._begin_ns) / _NS / self._options.rate
            self._wait(due, stamp_ns, stop)
            if stop.is_set():
                return
            self._tell_time(stamp_ns)
            self._publishers[connection.id].publish(bytes(raw))
            self.sent += 1
            report((stamp_ns - self._begin_ns) / _NS)

    def _messages(self) -> Iterator[tuple[Connection, int, bytes]]:
        with reading(self._options.bag) as reader:
            yield from recorded(self._options.bag, reader, self._connections, self._begin_ns)

    def _wait(self, due: float, stamp_ns: int, stop: threading.Event) -> None:
        """Until a message is due; time goes on meanwhile."""
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            self._tell_time(max(self._begin_ns, stamp_ns - round(left * self._options.rate * _NS)))
            stop.wait(min(left, CLOCK_SECONDS))

    def _tell_time(self, stamp_ns: int) -> None:
        if self._clock is not None:
            self._clock.publish(Clock(clock=ns_to_stamp(stamp_ns)))


class _Waiting:
    """Asks a managed node for its state, one question at a time."""

    def __init__(self, client: Client[Any, Any]) -> None:
        self.client = client
        self._asked: Future[Any] | None = None

    def is_active(self) -> bool:
        """Whether the last answer says so; asks again where it does not."""
        answer = self._asked.result() if self._asked is not None and self._asked.done() else None
        if answer is not None and answer.current_state.id == State.PRIMARY_STATE_ACTIVE:
            return True
        if (self._asked is None or answer is not None) and self.client.service_is_ready():
            self._asked = self.client.call_async(GetState.Request())
        return False


class BagPlayerNode(RunnableNode):
    """Plays a bag once the nodes that are to hear it are active, and ends with it."""

    def __init__(self) -> None:
        super().__init__("bag_player")
        declare(self, BAG_PLAYER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.guarded(self._play), name="player")
        self._waiting: dict[str, _Waiting] = {}

    def start(self) -> bool:
        """Opens the bag; false, with a sentence in the log, where that fails."""
        values = {p.name: self.get_parameter(p.name).value for p in BAG_PLAYER}
        bag = Path(values["bag"]).expanduser()
        try:
            self._options = ReplayOptions(
                bag,
                comma_separated(values["topics"]) or inputs_of(bag),
                values["rate"],
                values["start"],
                values["loop"],
            )
            self._player = BagPlayer(self._options, self)
        except (ValueError, ModuleNotFoundError) as error:
            self.get_logger().fatal(str(error))
            return False
        self._deadline = time.monotonic() + values["wait_seconds"]
        self._waiting = {
            name: _Waiting(self.create_client(GetState, f"{name}/get_state"))
            for name in comma_separated(values["wait_for"])
        }
        self._timer = self.steady_timer(_POLL_SECONDS, self._play_when_active)
        return True

    def close(self) -> None:
        """Ends the thread that plays."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _play_when_active(self) -> None:
        for name, waiting in list(self._waiting.items()):
            if waiting.is_active():
                self.destroy_client(waiting.client)
                del self._waiting[name]
        if not self._waiting:
            self.destroy_timer(self._timer)
            self._thread.start()
        elif time.monotonic() > self._deadline:
            names = ", ".join(self._waiting)
            self.fail(TimeoutError(f"nothing was played, these nodes are not active: {names}"))

    def _play(self) -> None:
        self._stop.wait(_SETTLE_SECONDS)
        self.get_logger().info(f"{self._options.bag}: {', '.join(self._player.topics)}")
        try:
            self._player.play(self._stop)
        except ValueError as error:
            self.get_logger().fatal(str(error))
            self.failure = error
            return
        self._stop.wait(_SETTLE_SECONDS)
        self.get_logger().info(f"{self._player.sent} messages sent")
        self.finished = True


def main() -> NoReturn:
    """Runs the node in this process until the bag ends or it is told to end."""
    run(BagPlayerNode)


if __name__ == "__main__":
    main()
