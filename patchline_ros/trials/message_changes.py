"""Changes of messages that several kinds of faults share, and how spoiled ones are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp
from patchline_ros.trials.trial_graph import TrialGraph

SECOND: Final = 10**9
"""In nanoseconds."""
TIMES: Final = 3
"""A spoiled picture or reading is sent so often, since best effort may lose one."""


def setting(**fields: Any) -> Callable[[Any], None]:
    """A change that gives fields of a message other values."""

    def change(msg: Any) -> None:
        for name, value in fields.items():
            setattr(msg, name, value)

    return change


def stamp(msg: Any, stamp_ns: int) -> None:
    """Gives a message with a header another stamp."""
    msg.header.stamp = ns_to_stamp(stamp_ns)


def cut_picture(msg: Image) -> None:
    """Takes the second half of the data away."""
    msg.data = msg.data[: len(msg.data) // 2]


@contextmanager
def sending(
    trial: TrialGraph,
    kind: type,
    topic: str,
    messages: Sequence[Any],
    profile: QoSProfile = qos.RESULTS,
    listeners: int = 1,
) -> Iterator[None]:
    """Sends messages on the topic of a node, beside that node, once so many listeners are there.

    Raises:
        NotSeenError: they are not found in time.
    """
    publisher: Any = trial.probe.node.create_publisher(kind, topic, profile)
    try:
        trial.until(
            lambda: publisher.get_subscription_count() >= listeners, f"{topic} is listened to"
        )
        trial.wait(0.3)  # the listener, too, must have found the publisher
        for msg in messages:
            publisher.publish(msg)
        yield
    finally:
        # With it goes what is latched.
        trial.probe.node.destroy_publisher(publisher)
