"""That a few enormous messages do not stay in a node's memory once they were read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from rclpy.duration import Duration
from ros_bench import Bench
from std_msgs.msg import UInt8MultiArray

from patchline_ros.graph import description
from patchline_ros.nodes import qos

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
NODE = """
import os, sys
from contextlib import nullcontext
import rclpy
from std_msgs.msg import UInt8MultiArray
from patchline_ros.nodes import qos
from patchline_ros.nodes.returned_memory import memory_given_back
rclpy.init()
with memory_given_back() if sys.argv[1] == "given back" else nullcontext():
    node = rclpy.create_node("reader")
assert "RMW_FASTRTPS_USE_QOS_FROM_XML" not in os.environ
def heard(message):
    print(len(message.data), flush=True)
    if len(message.data) == 1:
        sys.stdin.readline()
node.create_subscription(UInt8MultiArray, "bytes", heard, qos.LABELLED_FRAMES)
rclpy.spin(node)
"""
LARGE, SMALL, COUNT = 40_000_000, 1000, 4
"""Bytes; malloc gives what is larger than 32 MiB back to the system at once."""


def own_mib(process: psutil.Process) -> float:
    """Memory that is no other process's, in MiB."""
    memory = process.memory_info()
    return float(memory.rss - memory.shared) / 2**20


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not within 60 s"
        time.sleep(0.05)


@pytest.mark.parametrize("manner", ["kept", "given back"])
def test_what_enormous_messages_leave_in_memory(
    bench: Callable[..., Bench], manner: str, tmp_path: Path
) -> None:
    probe = bench()
    base = {n: v for n, v in os.environ.items() if n not in description.PROFILE_VARIABLES}
    said = tmp_path / "said"
    reader = subprocess.Popen(
        [sys.executable, "-c", NODE, manner],
        stdout=said.open("wb"),
        stdin=subprocess.PIPE,
        env={**description.environment(PROFILE, base), "ROS_DOMAIN_ID": str(probe.domain)},
    )
    try:
        publisher = probe.publisher(UInt8MultiArray, "bytes", qos.LABELLED_FRAMES)

        def send(size: int, count: int) -> None:
            for _ in range(count):
                publisher.publish(UInt8MultiArray(data=array("B", bytes(size))))
            assert publisher.wait_for_all_acked(Duration(seconds=60))

        def heard(count: int) -> bool:
            return len(said.read_text().split()) == count

        until(lambda: publisher.get_subscription_count() > 0)
        send(SMALL, 1)
        until(lambda: heard(1))
        process = psutil.Process(reader.pid)
        before = own_mib(process)
        send(1, 1)
        until(lambda: heard(2))
        # It does not read now, so all of them wait at once.
        send(LARGE, COUNT)
        assert reader.stdin is not None
        reader.stdin.write(b"\n")
        reader.stdin.flush()
        # rclpy holds the last message until some others have come.
        send(SMALL, 5)
        until(lambda: heard(COUNT + 7))
        grown = own_mib(process) - before
        assert (grown > LARGE / 2**20) == (manner == "kept"), f"{grown:.0f} MiB"
    finally:
        reader.kill()
        reader.wait()
