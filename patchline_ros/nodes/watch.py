"""`patchline watch`: a process that shows the graph to Foxglove and to a browser until Ctrl-C."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console

from patchline_ros.nodes.command import running
from patchline_ros.nodes.foxglove_bridge import FoxgloveBridge
from patchline_ros.nodes.label_topics import LabelTopics
from patchline_ros.signing import Signer
from patchline_ros.watch.label_routes import PAGE, LabelRoutes
from patchline_ros.watch.page import label_page, only_page, watch_page
from patchline_ros.watch.page_server import Address, Answer, PageServer
from patchline_ros.watch.topics import DRIFT_STATUS, CarTopics, troubles, watched

_SPIN_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 2.0
"""Seconds between two looks at who publishes what. What two looks find is said: discovery takes
time."""


@dataclass(frozen=True)
class Serving:
    """Where it listens. `host`: 127.0.0.1 is for this machine only. `label`: whether to label.
    `signing_key`: file of the key that labels are signed with; None: they are unsigned."""

    host: str
    port: int
    websocket_port: int
    label: bool
    signing_key: Path | None = None


def watch_car(car: CarTopics, serving: Serving, console: Console) -> None:
    """Serves the page and the WebSocket until it is stopped.

    Args:
        car: where the topics are.
        serving: where it listens, and whether a person may label.
        console: for the addresses, and for what nobody publishes.

    Raises:
        ValueError: a port is in use, the address is none of this machine, or the key can't be used.
    """
    host = serving.host
    signer = Signer(serving.signing_key) if serving.signing_key else None
    with running("watch", namespace=car.full("").rstrip("/")) as (node, stop):
        bridge = FoxgloveBridge(
            watched(car), node, Address(host, serving.websocket_port), f"patchline {car.full('')}"
        )
        try:
            answer: Answer = only_page(watch_page(car, bridge.port), host)
            labels, token = None, secrets.token_urlsafe()
            if serving.label:
                labels = LabelTopics(node, car, signer)
                answer = LabelRoutes(labels.desk, label_page(car), token, host, answer)
            server = PageServer(Address(host, serving.port), answer)
            try:
                console.print(f"page:     http://{host}:{server.port}")
                console.print(f"Foxglove: ws://{host}:{bridge.port}; Ctrl-C ends both")
                if labels:
                    # Behind the # it goes to no server and into no log.
                    address = f"http://{host}:{server.port}{PAGE}#token={token}"
                    console.print(f"label:    {address}", soft_wrap=True)
                _watch(car, bridge, labels, node, stop, console)
            finally:
                server.close()
        finally:
            bridge.close()


def _watch(
    car: CarTopics,
    bridge: FoxgloveBridge,
    labels: LabelTopics | None,
    node: Node,
    stop: threading.Event,
    console: Console,
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
        if labels:
            labels.look()
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
