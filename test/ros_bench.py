"""A node under test in this process and a probe that talks to it over real topics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from patchline_ros.graph.description import GraphSettings, NodeDescription, ros_arguments
from patchline_ros.graph.processes import free_domain, release_domain
from patchline_ros.nodes import qos
from patchline_ros.nodes.managed import ManagedNode


class Bench:
    """A node under test, a probe node that talks to it over real topics, and one executor."""

    def __init__(
        self,
        captured: pytest.CaptureFixture[str],
        params_file: str = "",
        **parameters: bool | int | float | str,
    ) -> None:
        description = NodeDescription("node", "node", parameters)
        settings = GraphSettings(bundle="", store="", params_file=params_file)
        arguments = ros_arguments(description, settings)
        named = arguments.index("-r")
        del arguments[named : named + 2]  # several nodes live in this process: none is renamed
        self.domain = free_domain()
        rclpy.init(args=arguments, domain_id=self.domain)
        self.captured = captured
        self.log = ""
        self.executor = SingleThreadedExecutor()
        self.probe = Node("probe", use_global_arguments=False)
        self.executor.add_node(self.probe)
        self.nodes: list[ManagedNode] = []
        self._closed = False

    def start(self, kind: type[ManagedNode]) -> ManagedNode:
        """The node, brought up as its process would do it."""
        node = kind()
        self.executor.add_node(node)
        self.nodes.append(node)
        node.started = node.start()
        return node

    def collect(self, kind: type, topic: str, profile: QoSProfile = qos.RESULTS) -> list[Any]:
        """A list that grows with each message."""
        messages: list[Any] = []
        self.probe.create_subscription(kind, topic, messages.append, profile)
        return messages

    def publisher(
        self, kind: type, topic: str, profile: QoSProfile, seconds: float = 30.0
    ) -> Publisher:
        """A publisher that the node has found."""
        publisher = self.probe.create_publisher(kind, topic, profile)
        self.until(lambda: publisher.get_subscription_count() > 0, seconds)
        return publisher

    def call(self, kind: type, name: str, **request: Any) -> Any:
        """The response of a service."""
        client = self.probe.create_client(kind, name)
        assert client.wait_for_service(10)
        future = client.call_async(kind.Request(**request))
        self.until(future.done)
        return future.result()

    def until(
        self,
        condition: Callable[[], bool],
        seconds: float = 30.0,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        """Spins until it holds; fails after `seconds` in which `progress` says the same."""
        deadline, before = time.monotonic() + seconds, progress()
        while not condition():
            now = progress()
            if now != before:
                deadline, before = time.monotonic() + seconds, now
            assert time.monotonic() < deadline, f"not within {seconds} s"
            self.spin(0.02)
        assert all(node.failure is None for node in self.nodes)

    def spin(self, seconds: float) -> None:
        """Spins for that long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def said(self, text: str) -> bool:
        """Whether the nodes have logged `text`."""
        self.log += self.captured.readouterr().err
        return text in self.log

    def close(self) -> None:
        """Ends the nodes and their threads; called again, it leaves the next bench alone."""
        if self._closed:
            return
        self._closed = True
        for node in self.nodes:
            node.close()
        self.executor.shutdown()
        for node in [*self.nodes, self.probe]:
            node.destroy_node()
        rclpy.try_shutdown()
        release_domain(self.domain)
