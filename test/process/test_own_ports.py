"""That a node which starts again listens where nobody has listened before."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.graph.description import PROFILE_VARIABLES
from patchline_ros.graph.processes import free_domain
from patchline_ros.nodes.own_ports import numbered_profile, unused_participant

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
NODE = """
import os
import rclpy
from patchline_ros.nodes.own_ports import own_ports
before = os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]
rclpy.init()
with own_ports():
    node = rclpy.create_node("lives")
assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == before
print("up", flush=True)
rclpy.spin(node)
"""


OF_THE_PACKAGE = """
from patchline_ros.nodes.node_main import RunnableNode, run

class Node(RunnableNode):
    def start(self):
        print("up", flush=True)
        return True

run(lambda: Node("lives"))
"""


def listened_on(domain: int, program: str = NODE, profile: Path | None = PROFILE) -> set[int]:
    """Ports in shared memory of a process that has started and was killed without a warning."""
    kept = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    named = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)} if profile else {}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, **named, "ROS_DOMAIN_ID": str(domain)},
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        files = Path(f"/proc/{process.pid}/fd").iterdir()
        locks = [os.readlink(file) for file in files if file.is_symlink()]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    found = [re.fullmatch(r".*_port(\d+)_el", lock) for lock in locks]
    ports = {int(match[1]) for match in found if match}
    # The ports of multicast are those of every participant.
    return {port for port in ports if port > 7400 + 250 * domain + 2}


def test_a_node_that_was_killed_listens_on_other_ports_when_it_starts_again() -> None:
    domain = free_domain()
    first, second = listened_on(domain), listened_on(domain)
    assert first and second
    assert not first & second


def test_so_does_a_node_that_is_started_alone_without_a_profile() -> None:
    domain = free_domain()
    first, second = (listened_on(domain, OF_THE_PACKAGE, profile=None) for _ in range(2))
    assert first and second
    assert not first & second


def test_a_number_is_taken_once() -> None:
    names = ["fastdds_port8411", "fastrtps_port8414_el", "fastdds_28573e84dab45a61", "sem.x"]
    # Domain 4 begins at port 8400: participant 0 has 8410 and 8411, 2 has 8414 and 8415.
    assert unused_participant(4, names, 0) == 1
    assert unused_participant(4, names, 2) == 3
    assert unused_participant(4, names, 32) == 1
    assert unused_participant(5, names, 0) == 0
    full = [f"fastdds_port{8410 + 2 * number}" for number in range(32)]
    assert unused_participant(4, full, 0) is None


def test_a_profile_keeps_all_else() -> None:
    profile = numbered_profile(PROFILE.read_bytes(), 7)
    assert profile is not None
    space = "{http://www.eprosima.com}"
    root = ElementTree.fromstring(profile)
    assert root.findtext(f".//{space}participantID") == "7"
    assert root.findtext(f".//{space}segment_size") == "67108864"
    # Who numbers the participants has a reason.
    assert numbered_profile(profile, 8) is None
    assert numbered_profile(b"<dds/>", 8) is None
    assert numbered_profile(b"no XML", 8) is None
