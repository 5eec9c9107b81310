"""The lifecycle that every node of the graph shares, its autostart and its diagnostics."""

from __future__ import annotations

import resource
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from std_msgs.msg import Header

from patchline_ros.bundle import Bundle, BundleError
from patchline_ros.nodes import qos
from patchline_ros.nodes.node_main import RunnableNode
from patchline_ros.nodes.parameters import Parameter, ParameterError, declare, read

_DIAGNOSTICS_SECONDS = 1.0
RECENT_SECONDS = 10.0
"""Seconds for which the diagnostics warn of something that came once, such as a broken message."""


def _resident_mib() -> float:
    """Memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class ManagedNode(LifecycleNode, RunnableNode):
    """A lifecycle node that brings itself up unless a manager is to do it.

    configure loads and validates, activate subscribes, deactivate stops and joins, cleanup frees. A
    subclass implements `configure`, `activate`, `deactivate`, `cleanup` (the last two must be fine
    with being called twice) and `report`.
    """

    def __init__(self, name: str, table: tuple[Parameter, ...]) -> None:
        """Declares the parameters of the table; `run` handles what rclpy raises for bad ones."""
        super().__init__(name)
        self._table = table
        self._finalized = False
        declare(self, table)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.RESULTS)
        self._diagnostics_timer: Timer | None = None

    @abstractmethod
    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and validates. Raises BundleError or ParameterError with a sentence."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribes and starts threads."""

    @abstractmethod
    def deactivate(self) -> None:
        """Undoes `activate`: unsubscribes, joins threads and processes."""

    @abstractmethod
    def cleanup(self) -> None:
        """Undoes `configure`."""

    def activity(self) -> str:
        """What it does while nothing is wrong."""
        return "running"

    @abstractmethod
    def report(self) -> tuple[str, Mapping[str, object]]:
        """Called once a second while active: what is wrong ("" if nothing), and the values."""

    def start(self) -> bool:
        """Configures and activates if `autostart` says so; false when that failed."""
        if not self.get_parameter("autostart").value:
            return True
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    def close(self) -> None:
        """Brings the node into its final state."""
        if not self._finalized:
            self.trigger_shutdown()

    def load_bundle(self, values: Mapping[str, Any]) -> Bundle:
        """The bundle of the parameters, with PyTorch limited to the threads they allow.

        Raises ParameterError when none is named and BundleError when it is missing or damaged.
        """
        if not values["bundle"]:
            raise ParameterError(
                "parameter bundle is empty; give the folder that `patchline offline` made"
            )
        torch.set_num_threads(values["threads"])
        return Bundle.load(Path(values["bundle"]).expanduser())

    def stamped_now(self) -> Header:
        """A header with the node clock's time, for what does not come from a picture."""
        return Header(stamp=self.get_clock().now().to_msg())

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Validates; a wrong parameter or bundle leaves the node unconfigured."""
        try:
            self.configure(read(self, self._table))
        except (BundleError, ParameterError) as error:
            self.get_logger().error(str(error))
            self.cleanup()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would turn it into ERROR without a word
            self.fail(error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes."""
        return self._step(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and joins."""
        return self._step(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees what configure loaded."""
        return self._step(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends whatever runs, from any state."""
        self._finalized = True
        return self._step(self._deactivate, self.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a failed transition: ends whatever runs, back to unconfigured."""
        return self._step(self._deactivate, self.cleanup)

    def _step(self, *actions: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            for action in actions:
                action()
        except Exception as error:  # rclpy would turn it into ERROR without a word
            self.fail(error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _activate(self) -> None:
        self.activate()
        self._diagnostics_timer = self.steady_timer(_DIAGNOSTICS_SECONDS, self._publish_diagnostics)

    def _deactivate(self) -> None:
        if self._diagnostics_timer is not None:
            self.destroy_timer(self._diagnostics_timer)
            self._diagnostics_timer = None
        self.deactivate()

    def _publish_diagnostics(self) -> None:
        trouble, reported = self.report()
        values = {**reported, "memory_mib": f"{_resident_mib():.0f}"}
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if trouble else DiagnosticStatus.OK,
            name=self.get_fully_qualified_name(),
            message=trouble or self.activity(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        self._diagnostics.publish(DiagnosticArray(header=self.stamped_now(), status=[status]))
