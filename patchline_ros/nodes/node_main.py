"""Runs one node in this process: start, spin, and an orderly end on SIGINT and SIGTERM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, TypeVar

import rclpy
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer

from patchline_ros.graph.domain import wrong_domain
from patchline_ros.nodes.dds_profile import use_shipped_profile
from patchline_ros.nodes.log import VisibleLogger
from patchline_ros.nodes.own_ports import own_ports
from patchline_ros.nodes.returned_memory import memory_given_back
from patchline_ros.nodes.shared_memory import remove_abandoned_segments

Result = TypeVar("Result")

_SPIN_SECONDS = 0.25
"""Short, because a signal that comes while DDS waits is only seen afterwards."""


class RunnableNode(Node):
    """What `run` needs of a node besides being one."""

    failure: Exception | None = None
    """The first exception of a guarded callback; it ends the process with code 1."""
    finished: bool = False
    """True ends the process with code 0."""
    _visible_log: VisibleLogger | None = None

    def get_logger(self) -> VisibleLogger:
        """The node's log, always the same one: it remembers what was said and when."""
        if self._visible_log is None:
            self._visible_log = VisibleLogger(super().get_logger().name)
        return self._visible_log

    def start(self) -> bool:
        """Called once before spinning; false ends the process (say why in the log first)."""
        return True

    def close(self) -> None:
        """Stops and joins whatever the node started; called once, whatever happened before."""

    def steady_timer(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """A guarded timer on a clock that nobody sets and that simulated time does not stop."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(seconds, self.guarded(callback), clock=clock)

    def guarded(self, callback: Callable[..., Result]) -> Callable[..., Result | None]:
        """The callback for an executor or a thread: an exception is logged and ends the process.

        rclpy swallows exceptions of some callbacks, and a thread that dies would leave a node that
        looks alive.
        """

        def call(*arguments: Any) -> Result | None:
            try:
                return callback(*arguments)
            except Exception as error:  # logged with its traceback, and `run` ends the process
                self.fail(error)
                return None

        return call

    def fail(self, error: Exception) -> None:
        """Logs the error with its traceback and makes `run` end the process with code 1."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.get_logger().fatal(text)
        self.failure = self.failure or error


def run(make_node: Callable[[], RunnableNode]) -> NoReturn:
    """Runs the node until a signal, a ROS shutdown or a failure, then ends the process.

    The signal handlers are ours and only set a flag: under `ros2 launch` SIGINT can come twice, and
    a KeyboardInterrupt in the middle of the shutdown would leave threads behind.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    # The libraries stay until the end. A collection that walks through all of theirs takes 0.2 s of
    # a core, which are seconds of an end on a busy machine.
    gc.freeze()
    remove_abandoned_segments()
    if sentence := wrong_domain(os.environ):
        sys.exit(sentence)
    use_shipped_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    code = _run(make_node, stop)
    # A lifecycle node is part of reference cycles; DDS only says goodbye once they are collected.
    gc.collect()
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All threads are joined. Unloading torch would take seconds more, and launch would lose its
    # patience and kill the process.
    os._exit(code)


def _run(make_node: Callable[[], RunnableNode], stop: threading.Event) -> int:
    """The node's whole life; the exit code."""
    try:
        with own_ports(), memory_given_back():
            node = make_node()
    except ParameterException as error:
        get_logger(__package__ or "patchline_ros").fatal(str(error))
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.start():
            return 1
        while rclpy.ok() and not (stop.is_set() or node.finished or node.failure):
            executor.spin_once(timeout_sec=_SPIN_SECONDS)
    except ExternalShutdownException:
        pass
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
    return 0 if node.failure is None else 1
