"""Topics recorded into a bag, and played back from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
from small_disk import SmallDisk
from std_msgs.msg import Header, String

from patchline_ros.datasets.labelled_bag import LabelledBag
from patchline_ros.datasets.reading import read_all
from patchline_ros.nodes import bag_recorder, qos
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
    labelled = labelled_frame_to_msg("f1", Task.DETECTION, sample, header)
    camera.publish(rgb_to_image(PICTURE, header))
    labels.publish(labelled)
    at.until(lambda: all(recorder.written.get(t) for t in ("/image_raw", "/words", "/labels")))
    recorder.close()

    with Reader(tmp_path / "bag") as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    assert offered["/image_raw"].reliability is QosReliability.BEST_EFFORT
    assert offered["/words"].durability is QosDurability.TRANSIENT_LOCAL

    pictures_of = LabelledBag(tmp_path / "bag").pictures(Task.DETECTION, ("car",))
    (read,) = read_all(pictures_of.jobs([0]), workers=1).items
    assert pictures_of.names == ("f1",)
    assert np.array_equal(read[Task.DETECTION].image, PICTURE)
    assert read[Task.DETECTION].label.boxes.tolist() == [[1, 1, 3, 3]]

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


FOOTER = b"\x02\x14" + bytes(27) + b"\x89MCAP0\r\n"
"""The end of an mcap without an index: what `mcap recover` would write behind the messages."""


def recording(folder: Path, domain: int, **changes: str) -> subprocess.Popen[str]:
    """`patchline record`, from its first words on."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "patchline_ros.cli",
            "record",
            str(folder),
            "--topics",
            "/words",
        ],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1", **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and "recording to" in process.stdout.readline()
    return process


def test_what_a_killed_recorder_has_written_can_be_saved(
    bench: type[Bench], tmp_path: Path
) -> None:
    at = bench()
    words = at.probe.create_publisher(String, "/words", qos.LATCHED)
    words.publish(String(data="x"))
    killed = recording(tmp_path / "drive", at.domain)
    file = tmp_path / "drive" / "drive.mcap"
    at.until(lambda: b"/words" in file.read_bytes())
    killed.kill()
    killed.communicate()
    with pytest.raises(ValueError, match=rf"no metadata.yaml.*: name its file {file} instead"):
        BagPlayer(ReplayOptions(tmp_path / "drive"), at.probe)
    with pytest.raises(ValueError, match=rf"`mcap recover {file} -o NEW.mcap` saves"):
        BagPlayer(ReplayOptions(file), at.probe)
    file.write_bytes(file.read_bytes() + FOOTER)
    with Reader(file) as reader:
        assert [c.topic for c, _, _ in reader.messages()] == ["/words"]


def test_a_full_disk_ends_the_recording_with_a_bag_that_can_be_read(
    bench: type[Bench], small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = bench()
    monkeypatch.setattr(bag_recorder, "KEPT_FREE", 0)
    recorder = BagRecorder(RecordOptions(small_disk.path / "bag"), at.probe)
    words = at.probe.create_publisher(String, "/words", qos.LATCHED)
    words.publish(String(data="y" * 1000))
    at.until(lambda: recorder.look() or bool(recorder.written.get("/words")))
    monkeypatch.setattr(bag_recorder, "KEPT_FREE", 2**40)
    words.publish(String(data="z"))
    with pytest.raises(OSError, match="MiB are left on it"):
        at.spin(5)
    recorder.close()
    with Reader(small_disk.path / "bag") as reader:
        assert reader.message_count == 1

    monkeypatch.setattr(bag_recorder, "KEPT_FREE", 0)
    without_room = BagRecorder(RecordOptions(small_disk.path / "second"), at.probe)
    at.until(lambda: without_room.look() or bool(without_room.written.get("/words")))
    small_disk.fill()
    with pytest.raises(OSError, match="No space left"):
        without_room.flush()
    with pytest.raises(OSError, match=r"so it has no index; `mcap recover .*second\.mcap"):
        without_room.close()


def test_the_command_says_that_the_disk_is_full(bench: type[Bench], small_disk: SmallDisk) -> None:
    at = bench()
    words = at.probe.create_publisher(String, "/words", qos.LATCHED)
    words.publish(String(data="x"))
    process = recording(small_disk.path / "bag", at.domain)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "less than 64 MiB are left" in err and "Traceback" not in err
    assert "0  /words" in out
    with Reader(small_disk.path / "bag") as reader:
        assert reader.message_count == 0


def test_the_command_refuses_at_once_what_it_cannot_record(
    bench: type[Bench], tmp_path: Path
) -> None:
    at = bench()
    at.probe.create_publisher(String, "/words", qos.LATCHED).publish(String(data="x"))
    # A half sourced environment: the class of the message is found, its definition is not.
    process = recording(tmp_path / "bag", at.domain, AMENT_PREFIX_PATH=str(tmp_path))
    out, err = process.communicate(timeout=60)
    assert " refused  /words: the definition of std_msgs/msg/String is not installed here" in out
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert "nothing was recorded, so there is no bag" in err
    assert not (tmp_path / "bag").exists()


def test_no_bag_is_left_where_nobody_published(bench: type[Bench], tmp_path: Path) -> None:
    process = recording(tmp_path / "bag", bench().domain)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "nobody published it" in out
    assert "nothing was recorded" in err and not (tmp_path / "bag").exists()
