"""What the commands of `patchline` that run a node in their own process have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from patchline_ros.nodes.dds_profile import use_shipped_profile
from patchline_ros.nodes.own_ports import own_ports
from patchline_ros.nodes.returned_memory import memory_given_back


@contextmanager
def running(
    name: str, namespace: str = "", arguments: Sequence[str] = ()
) -> Iterator[tuple[Node, threading.Event]]:
    """A node with the Fast DDS profile for large pictures, and what SIGINT and SIGTERM set.

    Args:
        name: of the node.
        namespace: of the node.
        arguments: that ROS is to read, such as `-r FROM:=TO`.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    use_shipped_profile()
    rclpy.init(
        args=["--ros-args", *arguments] if arguments else None,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        with own_ports(), memory_given_back():
            node = Node(name, namespace=namespace)
        try:
            yield node, stop
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
