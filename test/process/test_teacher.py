"""A teacher's processes beside a car's adapter, over real DDS."""

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

import numpy as np
import psutil
from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import LabelledFrame
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import make_bundle, picture

from patchline_ros.graph.description import command, describe
from patchline_ros.labelling.teacher import check_classes, read_teacher
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import (
    msg_to_labelled_frame,
    ns_to_stamp,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import Engine
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Task

CAMERA_NS = 50_000_000
"""Nanoseconds between two pictures."""
RATE = 5.0
"""Pictures a second that the teacher looks at."""


@pytest.fixture
def school(car, tmp_path):
    """The car in a namespace, with its adapter, and the processes of a teacher for it."""
    tasks = (Task.SEGMENTATION,)
    bundle = make_bundle(tmp_path / "teacher_bundle", tasks=tasks, backbone="resnet50")
    teacher = read_teacher(str(bundle.path), RATE)
    check_classes(teacher, car.settings.bundle)
    car.settings = replace(car.settings, namespace="car1", teacher=teacher)
    car.start("adapter")
    for node in describe(car.settings):
        if node.namespace:
            car.run(f"teacher_{node.name}", command(node, car.settings))
    return bundle


def test_its_answers_are_labels_that_the_car_keeps_at_no_more_than_its_rate(car, school):
    probe, sent = car.probe, []
    frames = probe.collect(LabelledFrame, "/car1/labelled_frames", qos.LABELLED_FRAMES)
    answers = probe.collect(Image, "/car1/teacher/lane_segmenter/mask")
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    camera = probe.probe.create_publisher(Image, "/car1/image_raw", qos.images("best_effort", 30))
    # The segmenter and the labeller.
    probe.until(lambda: camera.get_subscription_count() == 2, progress=car.progress)

    def kept() -> int:
        values = [value for msg in diagnostics for value in msg.status[0].values]
        return max((int(v.value) for v in values if v.key == "kept_segmentation"), default=0)

    def taught() -> bool:
        sent.append(picture(len(sent), 24, 40))
        header = Header(stamp=ns_to_stamp(len(sent) * CAMERA_NS), frame_id="camera_link")
        camera.publish(rgb_to_image(sent[-1], header))
        probe.spin(CAMERA_NS / 1e9)
        return len(frames) >= 6 and kept() >= 6

    probe.until(taught, seconds=60, progress=car.progress)
    model = ModelRunner(school, Task.SEGMENTATION, Engine(Backend.PYTORCH))
    for msg in frames:
        _name, task, stamp_ns, sample = msg_to_labelled_frame(msg)
        seen = sent[stamp_ns // CAMERA_NS - 1]
        assert task is Task.SEGMENTATION
        np.testing.assert_array_equal(sample.image, seen)
        np.testing.assert_array_equal(sample.label, model.infer(seen).prediction)
    # What it does not look at costs nothing; that the labels are as few would hold without that.
    stamps = [stamp_to_ns(msg.header.stamp) for msg in answers]
    assert len(stamps) >= len(frames)
    assert min(np.diff(stamps)) >= 1e9 / RATE
    niceness = {
        name.split()[0]: psutil.Process(process.pid).nice()
        for name, process in car.processes.items()
    }
    own = niceness.pop("adapter")
    assert set(niceness) == {"teacher_lane_segmenter", "teacher_labeller"}
    assert set(niceness.values()) == {min(own + 10, 19)}
