"""Nodes as processes: how they start, end, and outlive each other."""

import signal
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import (
    AdaptationStatus,
    DriftStatus,
    FrameFeatures,
    LabelledFrame,
    PatchStatus,
)
from ros_fixtures import Car
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import make_patch_set
from vision_msgs.msg import Classification

from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.graph.description import GraphSettings
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp, rgb_to_image
from patchline_ros.tasks import Sample, Task

SECOND = 1_000_000_000


def test_a_bad_start_ends_the_process_with_a_sentence(car):
    bundle = car.start("lane_segmenter", bundle="/nowhere")
    depth = car.start("object_detector", queue_depth=99)
    assert (bundle.wait(120), depth.wait(120)) == (1, 1)
    assert "bundle /nowhere does not exist" in car.log("lane_segmenter")
    assert "queue_depth" in car.log("object_detector")
    assert "Traceback" not in car.log("lane_segmenter") + car.log("object_detector")


def test_two_signals_end_a_node_quietly(car):
    """Under `ros2 launch` SIGINT can come twice."""
    results = car.probe.collect(DiagnosticArray, "/diagnostics")
    process = car.start("lane_segmenter")
    car.probe.until(lambda: bool(results), seconds=90)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in car.log("lane_segmenter")


def test_two_cars_in_one_graph_hear_nothing_of_each_other(car, bundle, tmp_path):
    """The first has a patch set and labels, which never reach the second; nor do its pictures."""
    probe, picture = car.probe, np.zeros((32, 32, 3), np.uint8)
    stored = tmp_path / "store1" / "episodes"
    stored.mkdir(parents=True)
    (stored / "classification.v1.safetensors").write_bytes(
        make_patch_set(bundle, Task.CLASSIFICATION, 1)
    )
    features, statuses, cameras, cars = [], [], [], []
    for number in (1, 2):
        namespace, logs = f"car{number}", tmp_path / f"logs{number}"
        logs.mkdir()
        settings = GraphSettings(
            str(bundle.path), str(tmp_path / f"store{number}"), namespace=namespace
        )
        cars.append(Car(probe, settings, logs))
        node = f"{namespace}/sign_classifier"
        features.append(probe.collect(FrameFeatures, f"{node}/features"))
        statuses.append(probe.collect(PatchStatus, f"{node}/patch_status", qos.LATCHED))
        cars[-1].start("sign_classifier", image_reliability="reliable")
        cars[-1].start("adapter")
    try:
        for number in (1, 2):
            topic = f"car{number}/camera/color/image_raw"
            profile = qos.images("reliable", 5)
            cameras.append(probe.publisher(Image, topic, profile, seconds=120))
        labels = probe.publisher(LabelledFrame, "car1/labelled_frames", qos.LABELLED_FRAMES, 120)
        header = Header(stamp=ns_to_stamp(SECOND))
        labels.publish(labelled_frame_to_msg("f", Task.CLASSIFICATION, Sample(picture, 0), header))
        stamps = count(1)

        def patched() -> bool:
            for number, camera in enumerate(cameras):
                stamp = ns_to_stamp(next(stamps) + number * SECOND)
                camera.publish(rgb_to_image(picture, Header(stamp=stamp)))
            probe.spin(0.1)
            return len(features[1]) > 10 and any(msg.patch_version == 1 for msg in features[0][:-9])

        probe.until(patched, seconds=120)
        assert {msg.header.stamp.sec for msg in features[0]} == {0}
        assert {msg.header.stamp.sec for msg in features[1]} == {1}
        assert {msg.patch_version for msg in features[1]} == {0}
        assert {msg.state for msg in statuses[1]} == {PatchStatus.SOURCE}
        kept = [StoredFrames(tmp_path / f"store{n}" / "frames") for n in (1, 2)]
        probe.until(lambda: kept[0].count(Task.CLASSIFICATION, 0) == 1)
        assert kept[1].count(Task.CLASSIFICATION, 0) == 0
    finally:
        for other in cars:
            other.close()


def trainings(folder: Path) -> list[int]:
    """Training processes with their job below `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if "patchline_ros.adaptation.worker" in arguments and str(folder) in "".join(arguments):
            found.append(process.pid)
    return found


def test_an_adapter_killed_in_mid_training(car, tmp_path):
    """Perception goes on, no training is left behind, no label is lost, and it starts again."""
    probe = car.probe
    statuses = probe.collect(AdaptationStatus, "adaptation_status", qos.LATCHED)
    results = probe.collect(Classification, "sign_classifier/classification")
    car.start("sign_classifier", image_reliability="reliable")
    options = {"min_frames": 12, "epochs": 10_000}
    adapter = car.start("adapter", **options)
    labels = probe.publisher(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES, seconds=90)
    drift = probe.publisher(DriftStatus, "drift_status", qos.RESULTS)
    camera = probe.publisher(Image, "image_raw", qos.images("reliable", 5), seconds=90)
    picture = np.zeros((32, 32, 3), np.uint8)
    for number in range(15):
        header = Header(stamp=ns_to_stamp((number + 1) * SECOND))
        sample = Sample(picture, number % 3)
        labels.publish(labelled_frame_to_msg(f"f{number}", Task.CLASSIFICATION, sample, header))
    store = StoredFrames(tmp_path / "store" / "frames")
    probe.until(lambda: store.count(Task.CLASSIFICATION, 0) == 15)

    def training() -> bool:
        """Says the drift again, as the monitor does with each picture."""
        header = Header(stamp=ns_to_stamp(60 * SECOND))
        drift.publish(
            DriftStatus(header=header, mmd2=0.4, drifting=True, since=ns_to_stamp(SECOND))
        )
        return any(s.state == AdaptationStatus.TRAINING and s.progress > 0 for s in statuses)

    probe.until(training, seconds=120)
    assert len(trainings(tmp_path)) == 1
    adapter.kill()
    adapter.wait()
    for number in count(1):
        camera.publish(rgb_to_image(picture, Header(stamp=ns_to_stamp(number))))
        probe.spin(0.05)
        if len(results) >= 10:
            break
        assert number < 200
    probe.until(lambda: not trainings(tmp_path))
    assert store.count(Task.CLASSIFICATION, 0) == 15
    assert len(store.read(store.select(Task.CLASSIFICATION, 0))) == 15

    second = car.start("adapter", **options)
    statuses.clear()
    probe.until(training, seconds=120)
    assert statuses[-1].collected == options["min_frames"]
    second.terminate()
    assert second.wait(30) == 0
    probe.until(lambda: not trainings(tmp_path))
