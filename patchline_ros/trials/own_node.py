"""The node in a trial's own process, which is beside the graph and not of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns


@dataclass(frozen=True)
class Diagnosis:
    """What a node said of itself last."""

    stamp_ns: int
    message: str
    values: dict[str, str]


class OwnNode:
    """Spun by a thread of its own from `start` to `close`.

    Attributes:
        node: for publishers and subscriptions.
        diagnoses: what each node of the graph said of itself last, by its name.
    """

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
        self._clients: dict[str, Any] = {}
        self.diagnoses: dict[str, Diagnosis] = {}
        self.hear(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RESULTS)

    def hear(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribes to a topic; the callback runs in the node's own thread."""
        self.node.create_subscription(kind, topic, callback, profile)

    def start(self) -> None:
        """Publishes and listens from now on."""
        self._thread.start()

    def call(
        self,
        service: str,
        kind: Any = Trigger,
        seconds: float = 10.0,
        node: str = "adapter",
        **fields: Any,
    ) -> Any:
        """Calls a service of a node with the fields of a request; returns the response.

        Raises:
            TimeoutError: the service is not there, or does not answer.
            RuntimeError: as `check`.
        """
        name = f"{node}/{service}"
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        deadline = time.monotonic() + seconds
        if not client.wait_for_service(seconds):
            raise TimeoutError(f"the service {name} is not there")
        future = client.call_async(kind.Request(**fields))
        while not future.done():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the service {name} does not answer")
            time.sleep(0.02)
        return future.result()

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

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        for status in msg.status:
            values = {pair.key: pair.value for pair in status.values}
            self.diagnoses[status.name.strip("/")] = Diagnosis(stamp_ns, status.message, values)

    def _spin(self) -> None:
        try:
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            pass
        except Exception as error:  # the trial's main thread raises it in `check`
            self._failure = error
