"""What a killed process leaves in shared memory, and that a living one keeps its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchline_ros.graph.processes import free_domain
from patchline_ros.nodes.shared_memory import remove_abandoned_segments

NODE = """
import rclpy
rclpy.init()
node = rclpy.create_node("lives")
print("up", flush=True)
rclpy.spin(node)
"""
SETTLED = 60


def segments(pid: int) -> list[Path]:
    """The segments that a process has made (it maps those of others, too) and their locks."""
    held = Path(f"/proc/{pid}/fd").iterdir()
    locks = [Path(os.readlink(fd)) for fd in held if fd.is_symlink()]
    names = [lock for lock in locks if re.fullmatch(r"fastdds_[0-9a-f]{16}_el", lock.name)]
    return [path for lock in names for path in (lock, lock.with_name(lock.name[:-3]))]


@pytest.fixture
def node() -> Iterator[subprocess.Popen[str]]:
    """A node with shared memory of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", NODE],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(free_domain())},
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def age(paths: list[Path]) -> None:
    for path in paths:
        stamp = path.stat().st_mtime - SETTLED
        os.utime(path, (stamp, stamp))


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    node: subprocess.Popen[str],
) -> None:
    own = segments(node.pid)
    assert own and all(path.exists() for path in own)
    age(own)
    remove_abandoned_segments()
    assert all(path.exists() for path in own)
    node.kill()
    node.wait()
    # What was written a moment ago may be another's that has not locked it yet.
    os.utime(own[0])
    remove_abandoned_segments()
    assert own[0].exists()
    age(own)
    assert remove_abandoned_segments() >= 1
    assert not any(path.exists() for path in own)
