"""The node in a trial's own process, which is beside the graph and not of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions


class OwnNode:
    """Spun by a thread of its own from `start` to `close`."""

    def __init__(self, domain: int) -> None:
        """Joins the domain."""
        self._context = rclpy.Context()
        rclpy.init(
            context=self._context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = rclpy.create_node("trial", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="trial")

    def hear(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribes to a topic; the callback runs in the node's own thread."""
        self.node.create_subscription(kind, topic, callback, profile)

    def start(self) -> None:
        """Publishes and listens from now on."""
        self._thread.start()

    def check(self) -> None:
        """Raises RuntimeError where a callback has failed: what was heard is not all there was."""
        if self._failure is not None:
            raise RuntimeError("the trial's own node has failed") from self._failure

    def close(self) -> None:
        """Leaves the domain."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        try:
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            pass
        except Exception as error:  # the trial's main thread raises it in `check`
            self._failure = error
