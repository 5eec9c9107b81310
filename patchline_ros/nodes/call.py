"""`patchline call`: one service of one node of the car."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from patchline_ros.graph.description import SERVICES
from patchline_ros.nodes.command import running

_FIND_SECONDS: Final = 10.0
"""Seconds to find the node in: discovery takes a few on a busy machine."""
_ANSWER_SECONDS: Final = 60.0
"""Seconds to wait for the answer: a node answers between two pictures."""


class NoAnswerError(RuntimeError):
    """The node was found, and did not answer."""


def call_service(namespace: str, node: str, service: str, value: bool | None) -> tuple[bool, str]:
    """Calls it; whether it did what was asked, and what it says.

    Args:
        namespace: of the car.
        node: by its name.
        service: by its name, below the node's.
        value: what it is called with; None: nothing.

    Raises:
        ValueError: there is no such node or service, it takes no value or needs one, or nobody
            offers it.
        NoAnswerError: it does not answer.
        KeyboardInterrupt: it was stopped.
    """
    takes_value = _takes_value(node, service, value)
    kind: Any = SetBool if takes_value else Trigger
    request = SetBool.Request(data=value) if takes_value else Trigger.Request()
    with running("call", namespace=namespace) as (caller, stop):
        name = caller.resolve_service_name(f"{node}/{service}")
        client: Client[Any, Any] = caller.create_client(kind, name)
        executor = SingleThreadedExecutor()
        executor.add_node(caller)
        if not _until(client.service_is_ready, executor, stop, _FIND_SECONDS):
            raise ValueError(
                f"nobody offers {name} on ROS domain {caller.context.get_domain_id()}; "
                "start the graph (patchline drive), and give its --namespace and ROS_DOMAIN_ID"
            )
        answer: Future[Any] = client.call_async(request)
        if not _until(answer.done, executor, stop, _ANSWER_SECONDS):
            raise NoAnswerError(f"{name} gave no answer for {_ANSWER_SECONDS:.0f} s")
        said: Any = answer.result()
    return said.success, said.message


def _takes_value(node: str, service: str, value: bool | None) -> bool:
    """Whether the service takes one. Raises ValueError where it should be there, or should not."""
    services = SERVICES.get(node)
    if services is None:
        raise ValueError(f"there is no node {node} to call; known are {', '.join(SERVICES)}")
    if service not in services:
        raise ValueError(f"{node} has no service {service}; known are {', '.join(services)}")
    if services[service] and value is None:
        raise ValueError(f"{node} {service} takes true or false; write it at the end")
    if not services[service] and value is not None:
        raise ValueError(f"{node} {service} takes no value; leave out what is at the end")
    return services[service]


def _until(
    condition: Any, executor: SingleThreadedExecutor, stop: threading.Event, seconds: float
) -> bool:
    """Whether it holds in time. Raises KeyboardInterrupt where it was stopped."""
    end = time.monotonic() + seconds
    while not condition():
        if stop.is_set():
            raise KeyboardInterrupt
        if time.monotonic() > end:
            return False
        executor.spin_once(timeout_sec=0.05)
    return True
