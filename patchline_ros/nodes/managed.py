"""The lifecycle that every node of the graph shares, its autostart and its diagnostics."""

from __future__ import annotations

import math
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from socket import gethostname
from typing import Any

import psutil
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from patchline_ros.bundle import Bundle
from patchline_ros.manifest import BundleError
from patchline_ros.nodes import qos
from patchline_ros.nodes.declared_parameters import declare, read
from patchline_ros.nodes.node_main import RunnableNode
from patchline_ros.nodes.parameter import Parameter, ParameterError
from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.trouble import Trouble

_DIAGNOSTICS_SECONDS = 1.0
_LASTING_SECONDS = 25.0
"""Seconds after which two of what should be one are said in the log: DDS forgets a node that was
killed after 20."""


class ManagedNode(LifecycleNode, RunnableNode):
    """A lifecycle node that brings itself up unless a manager is to do it.

    A subclass implements `configure`, which loads and validates, `activate`, which subscribes and
    starts threads, and `report`. It implements neither deactivate nor cleanup: what `activate`
    makes by `subscribe`, `offer`, `repeat` and `at_end` ends when the node is deactivated, what
    `configure` makes by `advertise` and `at_end` when it is cleaned up. The last one made ends
    first. Attributes that they set for the first time are then deleted, so that models are freed.
    """

    def __init__(self, name: str, table: tuple[Parameter, ...]) -> None:
        """Declares the parameters of the table; `run` handles what rclpy raises for bad ones."""
        super().__init__(name)
        self._table = table
        self._finalized = False
        self._until_deactivated, self._until_cleaned_up = ExitStack(), ExitStack()
        self._until = self._until_cleaned_up
        declare(self, table)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.RESULTS)
        self._idle = Trouble()
        self._lasting: dict[str, float] = {}
        self._not_taken = Refusals("messages not taken by a fault of this node")
        self.steady_timer(_DIAGNOSTICS_SECONDS, self._publish_idle)

    @abstractmethod
    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and validates. Raises BundleError or ParameterError with a sentence."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribes and starts threads."""

    def at_end(self, action: Callable[[], object]) -> None:
        """Calls `action` when the node leaves the state that it is entering."""
        self._until.callback(action)

    def advertise(self, kind: type, topic: str, profile: QoSProfile) -> Publisher[Any]:
        """A publisher that ends with the state that the node is entering."""
        publisher: Publisher[Any] = self.create_publisher(kind, topic, profile)
        self.at_end(lambda: self.destroy_publisher(publisher))
        return publisher

    def subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        overridable: bool = False,
    ) -> Subscription[Any]:
        """A subscription that ends with the state that the node is entering.

        Args:
            kind: of message.
            topic: by its name before remapping.
            callback: for each message; it is forgiven.
            profile: quality of service.
            overridable: takes overrides of the profile as parameters.
        """
        overrides = QoSOverridingOptions.with_default_policies() if overridable else None
        subscription: Subscription[Any] = self.create_subscription(
            kind,
            topic,
            self.forgiving(callback),
            # rclpy writes the overrides into the profile.
            copy(profile),
            qos_overriding_options=overrides,
        )
        self.at_end(lambda: self.destroy_subscription(subscription))
        return subscription

    def forgiving(self, callback: Callable[..., object]) -> Callable[..., None]:
        """The callback for messages: what it raises is logged and counted, and the node goes on.

        Whoever can send a message that nobody has foreseen could end the node with it else, and
        again after each restart where the message is latched.
        """

        def call(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # said in the log and in the diagnostics
                text = "".join(traceback.format_exception(error))
                self.get_logger().refusal(f"a message was not taken: {text}")
                self._not_taken.add(f"{type(error).__name__}: {error}")
            else:
                self._not_taken.taken()

        return call

    def offer(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """A service that ends with the state that the node is entering; it is guarded."""
        service = self.create_service(kind, name, self.guarded(callback))
        self.at_end(lambda: self.destroy_service(service))

    def repeat(self, seconds: float, callback: Callable[[], None]) -> None:
        """A steady timer that ends with the state that the node is entering."""
        timer = self.steady_timer(seconds, callback)
        self.at_end(lambda: self.destroy_timer(timer))

    def activity(self) -> str:
        """What it does while nothing is wrong."""
        return "running"

    @abstractmethod
    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Called once a second while active: what is wrong, if anything, and the values."""

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
        key = Path(values["bundle_key"]).expanduser().absolute() if values["bundle_key"] else None
        return Bundle.load(Path(values["bundle"]).expanduser(), key)

    def stamped_now(self) -> Header:
        """A header with the node clock's time, for what does not come from a picture."""
        return Header(stamp=self.get_clock().now().to_msg())

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Validates; a wrong parameter or bundle leaves the node unconfigured."""
        try:
            values = read(self, self._table)
            self._enter(self._until_cleaned_up, lambda: self.configure(values))
        except (BundleError, ParameterError) as error:
            self.get_logger().error(str(error))
            self._until_cleaned_up.close()
            self._idle = Trouble(str(error), stops=True)
            self._publish_idle()  # at once: without a manager the process ends now
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would turn it into ERROR without a word
            self.fail(error)
            return TransitionCallbackReturn.ERROR
        self._idle = Trouble()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes."""
        return self._step(lambda: self._enter(self._until_deactivated, self._activate))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and joins."""
        self._idle = Trouble("deactivated: it does nothing until it is activated", stops=True)
        return self._step(self._until_deactivated.close)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees what configure loaded."""
        self._idle = Trouble("cleaned up: it does nothing until it is configured", stops=True)
        return self._step(self._until_cleaned_up.close)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends whatever runs, from any state."""
        self._finalized = True
        self._idle = Trouble()
        return self._step(self._until_deactivated.close, self._until_cleaned_up.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a failed transition: ends whatever runs, back to unconfigured."""
        self._idle = Trouble("a transition failed, its log says why", stops=True)
        return self._step(self._until_deactivated.close, self._until_cleaned_up.close)

    def _step(self, *actions: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            for action in actions:
                action()
        except Exception as error:  # rclpy would turn it into ERROR without a word
            self.fail(error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _enter(self, until: ExitStack, transition: Callable[[], None]) -> None:
        """What the transition makes lasts until the stack is closed, and so do its attributes."""
        known = set(vars(self))
        made: list[str] = []
        until.callback(self._forget, made)
        self._until = until
        try:
            transition()
        finally:
            made += vars(self).keys() - known

    def _forget(self, names: list[str]) -> None:
        for name in names:
            vars(self).pop(name, None)

    def _activate(self) -> None:
        self._idle = Trouble()
        self.activate()
        self.repeat(_DIAGNOSTICS_SECONDS, self._publish_report)

    def _publish_report(self) -> None:
        trouble, values = self.report()
        self.get_logger().sum_up()
        namesake = self.said_when_it_lasts("namesake", self._namesake())
        trouble = trouble or namesake
        not_taken = {"not_taken": self._not_taken.count} if self._not_taken.count else {}
        self._publish_diagnostics(trouble or self._not_taken.trouble(), {**values, **not_taken})

    def said_when_it_lasts(self, kind: str, trouble: Trouble) -> Trouble:
        """The trouble; a warning in the log says it once when there has been one for a while."""
        if not trouble:
            self._lasting.pop(kind, None)
            return trouble
        began = self._lasting.setdefault(kind, time.monotonic())
        if time.monotonic() - began > _LASTING_SECONDS:
            self._lasting[kind] = math.inf
            self.get_logger().warning(trouble.sentence)
        return trouble

    def _namesake(self) -> Trouble:
        """Two nodes of one name take each other's messages, services and parameters."""
        own = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(own)
        if count < 2:
            return Trouble()
        return Trouble(
            f"{count} nodes are called {self.get_fully_qualified_name()}: end all but one, or give "
            "each car a namespace or a ROS_DOMAIN_ID of its own"
        )

    def _publish_idle(self) -> None:
        """Why it isn't active; a node that nobody has brought up yet says nothing."""
        if self._idle:
            self._publish_diagnostics(self._idle, {})

    def _publish_diagnostics(self, trouble: Trouble, reported: Mapping[str, object]) -> None:
        resident = psutil.Process().memory_info().rss
        values = {**reported, "memory_mib": f"{resident / 2**20:.0f}"}
        status = DiagnosticStatus(
            level=_level(trouble),
            name=self.get_fully_qualified_name(),
            hardware_id=gethostname(),
            message=trouble.sentence or self.activity(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        self._diagnostics.publish(DiagnosticArray(header=self.stamped_now(), status=[status]))


def _level(trouble: Trouble) -> bytes:
    if not trouble:
        return DiagnosticStatus.OK
    return DiagnosticStatus.ERROR if trouble.stops else DiagnosticStatus.WARN
