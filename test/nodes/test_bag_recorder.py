"""Topics recorded into a bag, and played back from it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

import numpy as np
from patchline_ros.msg import LabelledFrame
from ros_bench import Bench
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from patchline_ros.nodes import qos
from patchline_ros.nodes.bag_player import BagPlayer, ReplayOptions
from patchline_ros.nodes.bag_recorder import BagRecorder, RecordOptions
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp, rgb_to_image
from patchline_ros.tasks import Boxes, Sample, Task

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def test_what_is_recorded_comes_back_the_same(bench: type[Bench], tmp_path: Path) -> None:
    at = bench()
    recorder = BagRecorder(RecordOptions(tmp_path / "bag"), at.probe)
    camera = at.probe.create_publisher(Image, "image_raw", qos.images("best_effort", 5))
    words = at.probe.create_publisher(String, "words", qos.LATCHED)
    labels = at.probe.create_publisher(LabelledFrame, "labels", qos.LABELLED_FRAMES)
    words.publish(String(data="before anyone looked"))
    at.spin(0.3)
    recorder.look()
    at.until(lambda: camera.get_subscription_count() == labels.get_subscription_count() == 1)
    header = Header(stamp=ns_to_stamp(7), frame_id="camera")
    sample = Sample(PICTURE, Boxes.truth([[1, 1, 3, 3]], [0]))
    labelled = labelled_frame_to_msg("f1", Task.OBJECTS, sample, header)
    camera.publish(rgb_to_image(PICTURE, header))
    labels.publish(labelled)
    at.until(lambda: all(recorder.written.get(t) for t in ("/image_raw", "/words", "/labels")))
    recorder.close()

    with Reader(tmp_path / "bag") as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    assert offered["/image_raw"].reliability is QosReliability.BEST_EFFORT
    assert offered["/words"].durability is QosDurability.TRANSIENT_LOCAL

    again = at.collect(LabelledFrame, "/labels", qos.LABELLED_FRAMES)
    pictures = at.collect(Image, "/image_raw", qos.images("best_effort", 5))
    for publisher in (camera, words, labels):
        at.probe.destroy_publisher(publisher)
    topics = ("/image_raw", "/labels")
    player = BagPlayer(ReplayOptions(tmp_path / "bag", topics=topics), at.probe)
    at.until(player.heard)
    thread = threading.Thread(target=player.play, args=(threading.Event(),))
    thread.start()
    at.until(lambda: bool(again and pictures))
    thread.join()
    assert again[0] == labelled
    assert pictures[0] == rgb_to_image(PICTURE, header)


def test_a_recorded_clock_does_not_run_beside_the_players_own(
    bench: type[Bench], tmp_path: Path
) -> None:
    at = bench()
    recorder = BagRecorder(RecordOptions(tmp_path / "bag"), at.probe)
    clock = at.probe.create_publisher(Clock, "/clock", qos.RESULTS)
    words = at.probe.create_publisher(String, "/words", qos.RESULTS)
    at.spin(0.2)
    recorder.look()
    at.until(lambda: clock.get_subscription_count() == words.get_subscription_count() == 1)
    for _ in range(2):
        clock.publish(Clock())
        words.publish(String(data="x"))
        at.until(lambda: recorder.written["/clock"] == recorder.written["/words"] >= 1)
    recorder.close()
    with_clock = BagPlayer(ReplayOptions(tmp_path / "bag"), at.probe)
    assert with_clock.topics == ["/words"]
    plain = BagPlayer(ReplayOptions(tmp_path / "bag", clock=False), at.probe)
    assert plain.topics == ["/clock", "/words"]
    with pytest.raises(ValueError, match="nothing to play but /clock"):
        BagPlayer(ReplayOptions(tmp_path / "bag", topics=("/clock",)), at.probe)


def test_only_what_is_asked_for_and_what_is_missing_is_named(
    bench: type[Bench], tmp_path: Path
) -> None:
    at = bench()
    options = RecordOptions(tmp_path / "bag", topics=("/words", "/never"))
    recorder = BagRecorder(options, at.probe)
    for name in ("words", "other"):
        at.probe.create_publisher(String, name, qos.RESULTS)
    at.spin(0.2)
    recorder.look()
    assert set(recorder.written) == {"/words"}
    assert recorder.missing == ["/never"]
    recorder.close()
    with pytest.raises(ValueError, match=r"the bag .*bag can't be made: .*exist"):
        BagRecorder(options, at.probe)
