"""A bag played into the graph over real topics."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

import numpy as np
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros_bench import Bench
from rosbags.interfaces import (
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String

from patchline_ros.graph.description import PROFILE_VARIABLES
from patchline_ros.graph.processes import free_domain
from patchline_ros.nodes import qos
from patchline_ros.nodes.bag_player import BagPlayer, BagPlayerNode, ReplayOptions, offered
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.nodes.message_types import check_definition, message_class

BEGIN = 1_000_000_000_000
STEP = 50_000_000
FRAMES = 20


def profile(reliability: QosReliability, durability: QosDurability, depth: int = 5) -> Qos:
    forever = QosTime(2**31 - 1, 2**32 - 1)
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        reliability,
        durability,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        avoid_ros_namespace_conventions=False,
    )


LATCHED = profile(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, 1)
CAMERA = profile(QosReliability.BEST_EFFORT, QosDurability.VOLATILE)


@pytest.fixture(params=["MCAP", "SQLITE3"])
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A second of pictures stamped with their number, and a latched text at its begin."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    names = ("builtin_interfaces/msg/Time", "std_msgs/msg/Header", "sensor_msgs/msg/Image")
    time, header, image = (types.types[name] for name in names)
    text = types.types["std_msgs/msg/String"]
    path = tmp_path / "drive"
    plugin = StoragePlugin[request.param]
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        words = writer.add_connection(
            "/words", text.__msgtype__, typestore=types, offered_qos_profiles=[LATCHED]
        )
        writer.write(words, BEGIN, types.serialize_cdr(text("hello"), text.__msgtype__))
        camera = writer.add_connection(
            "/image_raw", image.__msgtype__, typestore=types, offered_qos_profiles=[CAMERA]
        )
        for number in range(FRAMES):
            pixels = np.full(12, number, np.uint8)
            picture = image(header(time(number, 7), "camera"), 2, 2, "rgb8", 0, 6, pixels)
            raw = types.serialize_cdr(picture, image.__msgtype__)
            writer.write(camera, BEGIN + number * STEP, raw)
    return path


def played(at: Bench, options: ReplayOptions, until_sent: int | None = None) -> BagPlayer:
    """Plays in a thread while the probe listens."""
    player, stop = BagPlayer(options, at.probe), threading.Event()
    thread = threading.Thread(target=player.play, args=(stop,))
    thread.start()
    try:
        at.until(lambda: not thread.is_alive() or (until_sent or 1e9) <= player.sent)
    finally:
        stop.set()
        thread.join()
    at.spin(0.2)
    return player


def test_messages_keep_their_stamps_and_order_and_the_clock_goes_with_them(
    bench: type[Bench], bag: Path
) -> None:
    at = bench()
    order: list[tuple[str, int]] = []
    at.probe.create_subscription(
        Clock, "/clock", lambda msg: order.append(("clock", stamp_to_ns(msg.clock))), qos.RESULTS
    )
    pictures: list[Image] = []

    def on_picture(msg: Image) -> None:
        pictures.append(msg)
        order.append(("picture", msg.header.stamp.sec))

    at.probe.create_subscription(Image, "/image_raw", on_picture, qos.images("best_effort", 50))
    words = at.collect(String, "/words", qos.LATCHED)
    player = played(at, ReplayOptions(bag, rate=2))
    assert player.sent == FRAMES + 1
    assert [msg.header.stamp.sec for msg in pictures] == list(range(FRAMES))
    assert all(msg.header.stamp.nanosec == 7 for msg in pictures)
    assert pictures[3].data.tobytes() == bytes([3] * 12)
    assert [msg.data for msg in words] == ["hello"]
    times = [value for kind, value in order if kind == "clock"]
    assert times == sorted(times)
    # Twice the speed: half a second of machine time at some hundred hertz.
    assert 20 < len(times) < 200
    assert times[0] >= BEGIN and times[-1] == BEGIN + (FRAMES - 1) * STEP


def test_a_part_of_it_and_again(bench: type[Bench], bag: Path) -> None:
    at = bench()
    pictures = at.collect(Image, "/image_raw", qos.images("best_effort", 50))
    words = at.collect(String, "/words", qos.LATCHED)
    options = ReplayOptions(bag, topics=("/image_raw",), rate=10, start=0.5, loop=True, clock=False)
    played(at, options, until_sent=15)
    numbers = [msg.header.stamp.sec for msg in pictures]
    assert numbers[:12] == [*range(10, FRAMES), 10, 11]
    assert not words
    assert at.probe.count_publishers("/clock") == 0


def test_what_can_not_be_played_is_named(bench: type[Bench], bag: Path) -> None:
    at = bench()
    for options, says in [
        (ReplayOptions(bag / "none"), "there is no bag"),
        (ReplayOptions(bag, topics=("/imu",)), "no messages on /imu; it has them on /image_raw"),
        (ReplayOptions(bag, start=9), "nothing to play from 9 s on"),
    ]:
        with pytest.raises(ValueError, match=says):
            BagPlayer(options, at.probe)
    with pytest.raises(ValueError, match=r"/imu is of my_msgs/msg/Thing, which is not known here"):
        message_class("my_msgs/msg/Thing", "/imu")
    assert message_class("std_msgs/String", "/words") is String


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_messages_of_other_fields_than_here_are_not_played(
    bench: type[Bench], tmp_path: Path, plugin: str
) -> None:
    at = bench()
    recorded = get_typestore(Stores.EMPTY)
    recorded.register(get_types_from_msg("int32 number\nstring data\n", "std_msgs/msg/String"))
    text = recorded.types["std_msgs/msg/String"]
    with Writer(tmp_path / "old", version=9, storage_plugin=StoragePlugin[plugin]) as writer:
        words = writer.add_connection("/words", text.__msgtype__, typestore=recorded)
        raw = recorded.serialize_cdr(text(1, "x"), text.__msgtype__)
        for number in range(2):
            writer.write(words, BEGIN + number, raw)
    says = r"topic /words: std_msgs/msg/String had other fields when the bag was recorded"
    with pytest.raises(ValueError, match=says):
        BagPlayer(ReplayOptions(tmp_path / "old"), at.probe)
    with Reader(tmp_path / "old") as reader:
        (connection,) = reader.connections
    with pytest.raises(ValueError, match=says):
        check_definition(connection._replace(digest=""))
    nothing = MessageDefinition(MessageDefinitionFormat.NONE, "")
    with pytest.raises(ValueError, match=says):
        check_definition(connection._replace(msgdef=nothing))
    check_definition(connection._replace(msgdef=nothing, digest=""))
    same = MessageDefinition(MessageDefinitionFormat.MSG, "# comments\nstring data\n")
    check_definition(connection._replace(msgdef=same, digest=""))


def test_a_bag_that_breaks_off_ends_the_player_with_a_sentence(
    bench: type[Bench], bag: Path
) -> None:
    at = bench(bag=str(bag), wait_for="")
    node = at.start(BagPlayerNode)  # type: ignore[arg-type]
    for file in bag.iterdir():
        file.write_bytes(b"")
    at.spin(1.0)
    deadline = time.monotonic() + 20
    while node.failure is None and time.monotonic() < deadline:
        at.spin(0.1)
    assert isinstance(node.failure, ValueError)
    assert at.said(f"cannot read the bag {bag}") and not at.said("Traceback")


def test_the_command_says_what_it_did_and_what_is_wrong(bag: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "patchline_ros.cli", "replay", str(bag), *arguments]
        variables = {**os.environ, "ROS_DOMAIN_ID": str(free_domain())}
        return subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    done = call("--rate", "50", "--remap", "/image_raw:=/camera/image")
    assert done.returncode == 0, done.stderr
    assert "21 messages sent; nobody listened at the end" in done.stdout
    for rule in ("cam", ":=cam", "a b:=c"):
        wrong = call("--remap", rule)
        assert wrong.returncode == 2
        assert f"--remap {rule!r} is no remapping of topics; write FROM:=TO" in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_a_command_sends_and_hears_with_the_profile_for_large_pictures() -> None:
    script = (
        "import os; from patchline_ros.nodes.command import running\n"
        "with running('x', 'car1') as (node, stop):\n"
        "    print(node.get_fully_qualified_name(), stop.is_set(), *map(os.environ.get, {names}))"
    )
    variables = {n: v for n, v in os.environ.items() if n not in PROFILE_VARIABLES}
    for given, expected in (("", "config/fastdds.xml"), ("/theirs.xml", "/theirs.xml")):
        own = {PROFILE_VARIABLES[0]: given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", script.format(names=PROFILE_VARIABLES)],
            env={**variables, **own, "ROS_DOMAIN_ID": str(free_domain())},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        name, stopped, *files = done.stdout.split()
        assert (name, stopped) == ("/car1/x", "False")
        assert next(file for file in files if file != "None").endswith(expected)


def test_the_recorded_qos_is_offered_and_what_it_left_open_is_reliable() -> None:
    latched, camera = offered([LATCHED]), offered([CAMERA, LATCHED])
    assert latched.durability == DurabilityPolicy.TRANSIENT_LOCAL and latched.depth == 1
    assert camera.reliability == ReliabilityPolicy.BEST_EFFORT and camera.depth == 5
    unknown = profile(QosReliability.UNKNOWN, QosDurability.SYSTEM_DEFAULT, 0)
    kept_all = profile(QosReliability.RELIABLE, QosDurability.VOLATILE, 2**31 - 1)
    for found in (offered([]), offered([unknown]), offered([kept_all])):
        assert found.reliability == ReliabilityPolicy.RELIABLE
        assert found.durability == DurabilityPolicy.VOLATILE
        assert found.depth == qos.RESULTS.depth
