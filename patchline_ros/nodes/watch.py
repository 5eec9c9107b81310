"""`patchline watch`: a process that shows the graph to Foxglove and to a browser until Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console

from patchline_ros.nodes.command import running
from patchline_ros.nodes.foxglove_bridge import FoxgloveBridge
from patchline_ros.watch.page import Address, PageServer, page
from patchline_ros.watch.topics import DRIFT_STATUS, CarTopics, troubles, watched

_SPIN_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 2.0
"""Seconds between two looks at who publishes what. What two looks find is said: discovery takes
time."""


def watch_car(car: CarTopics, host: str, port: int, websocket_port: int, console: Console) -> None:
    """Serves the page and the WebSocket until it is stopped.

    Args:
        car: where the topics are.
        host: both listen there; 127.0.0.1 is for this machine only.
        port: of the page.
        websocket_port: of the bridge.
        console: for the addresses, and for what nobody publishes.

    Raises:
        ValueError: a port is in use, or the address is none of this machine.
    """
    with running("watch", namespace=car.full("").rstrip("/")) as (node, stop):
        bridge = FoxgloveBridge(
            watched(car), node, Address(host, websocket_port), f"patchline {car.full('')}"
        )
        try:
            server = PageServer(Address(host, port), page(car, bridge.port))
            try:
                console.print(f"page:     http://{host}:{server.port}")
                console.print(f"Foxglove: ws://{host}:{bridge.port}; Ctrl-C ends both")
                _watch(car, bridge, node, stop, console)
            finally:
                server.close()
        finally:
            bridge.close()


def _watch(
    car: CarTopics, bridge: FoxgloveBridge, node: Node, stop: threading.Event, console: Console
) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    before: dict[str, str] = {}
    said: Iterable[str] = ()
    looked = time.monotonic()
    while not stop.is_set():
        bridge.follow()
        executor.spin_once(timeout_sec=_SPIN_SECONDS)
        if time.monotonic() - looked < _LOOK_SECONDS:
            continue
        looked = time.monotonic()
        found = _look(car, node)
        lasting = {name: sentence for name, sentence in found.items() if name in before}
        bridge.say(lasting)
        for name in lasting:
            if name not in said:
                console.print(lasting[name], soft_wrap=True)
        before, said = found, lasting
    executor.shutdown()


def _look(car: CarTopics, node: Node) -> dict[str, str]:
    names = dict(node.get_topic_names_and_types())
    published = {name for name in names if node.count_publishers(name)}
    cars = {
        name.rpartition("/")[0] or "/"
        for name in published
        if DRIFT_STATUS in names[name] and name.endswith("/drift_status")
    }
    return troubles(car, published, cars, node.context.get_domain_id())
