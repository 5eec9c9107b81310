"""A listener is killed between two messages, which leaves its port looking healthy for good.

Who is started again on the same port is deaf; what `own_ports` starts is not.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.graph.processes import free_domain, local_environment
from patchline_ros.nodes.port_memory import is_listened_on, leave_between_messages, say_not_well
from patchline_ros.trials.restarts import ports_of

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
TALKER = """
import rclpy
from std_msgs.msg import Empty
rclpy.init()
node = rclpy.create_node("talker")
publisher = node.create_publisher(Empty, "talk", 10)
node.create_timer(0.02, lambda: publisher.publish(Empty()))
rclpy.spin(node)
"""
LISTENER = """
import sys
from contextlib import nullcontext
import rclpy
from std_msgs.msg import Empty
from patchline_ros.nodes.own_ports import own_ports
rclpy.init()
with own_ports() if sys.argv[1] == "own" else nullcontext():
    node = rclpy.create_node("listener")
node.create_subscription(Empty, "talk", lambda _: print("heard", flush=True), 10)
node.create_timer(0.1, lambda: node.count_publishers("talk") and print("sees", flush=True))
rclpy.spin(node)
"""
LISTEN_SECONDS = 3.0
"""For which a deaf node that sees the talker hears nothing of 150 messages."""
PARTICIPANTS = 32


class Listener:
    """The listening process and what it has said."""

    def __init__(self, domain: int, log: Path, ports: str) -> None:
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER, ports],
            stdout=log.open("wb"),
            env={**os.environ, **local_environment(domain, PROFILE)},
        )

    def count(self, word: str) -> int:
        return self._log.read_text().split().count(word)

    def until(self, word: str) -> None:
        until(lambda: self.count(word) > 0, f"the listener {word} the talker")

    def own_port(self) -> Path:
        (port,) = ports_of(self.process.pid)
        return port


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not within 30 s: {what}"
        time.sleep(0.02)


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def all_others_taken(port: Path, domain: int) -> Iterator[None]:
    """Somebody seems to listen as each participant but the one that was killed."""
    with ExitStack() as stack:
        for number in range(PARTICIPANTS):
            other = port.with_name(f"fastdds_port{7411 + 250 * domain + 2 * number}")
            if other == port or (other.exists() and is_listened_on(other)):
                continue
            lock = other.with_name(f"{other.name}_el")
            file = stack.enter_context(lock.open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
            stack.callback(lock.unlink)
            if not other.exists():
                other.touch()
                stack.callback(other.unlink)
        yield


@pytest.mark.parametrize("case", ["same port", "own port", "no other port"])
def test_who_starts_again_after_a_kill_between_two_messages(case: str, tmp_path: Path) -> None:
    domain = free_domain()
    talker = subprocess.Popen(
        [sys.executable, "-c", TALKER],
        env={**os.environ, **local_environment(domain, PROFILE)},
    )
    with ExitStack() as stack:
        stack.enter_context(running(talker))
        first = Listener(domain, tmp_path / "first.log", "any")
        with running(first.process):
            first.until("heard")
            port = first.own_port()
        assert leave_between_messages(port)
        if case == "no other port":
            stack.enter_context(all_others_taken(port, domain))
        ports = "any" if case == "same port" else "own"
        again = Listener(domain, tmp_path / "again.log", ports)
        stack.enter_context(running(again.process))
        again.until("sees")
        assert (again.own_port() == port) == (case != "own port")
        if case == "same port":
            time.sleep(LISTEN_SECONDS)
            assert again.count("heard") == 0
        else:
            again.until("heard")


def test_what_is_no_port_is_left_as_it_is(tmp_path: Path) -> None:
    for name, content in (
        ("fastdds_port8411", b""),
        ("fastdds_port8413", bytes(60_000)),
        ("fastdds_portal", b"fastdds\0" * 5000),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert not say_not_well(path) and not leave_between_messages(path)
        assert path.read_bytes() == content
        assert not is_listened_on(path)
    assert not say_not_well(tmp_path / "fastdds_port8415")
