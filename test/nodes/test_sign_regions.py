"""The sign classifier on the boxes of a detector, and QoS overrides, over real topics."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import FrameFeatures
from rclpy.qos import ReliabilityPolicy
from ros_bench import Bench
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import picture
from vision_msgs.msg import Detection2DArray

from patchline_ros.messages.labels import msg_to_boxes
from patchline_ros.nodes import input_watchdog, qos
from patchline_ros.nodes.conversions import boxes_to_msg, ns_to_stamp, rgb_to_image
from patchline_ros.nodes.sign_classifier import SignClassifier
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Boxes, Task

RELIABLE = qos.images("reliable", 20)
SIGN, CAR = 7, 2


class Signs:
    """A sign classifier that looks at regions, with its topics."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.answers = bench.collect(Detection2DArray, "sign_classifier/signs")
        self.features = bench.collect(FrameFeatures, "sign_classifier/features")
        self.node = bench.start(SignClassifier)
        assert self.node.started
        self.camera = bench.publisher(Image, "sign/image_raw", RELIABLE)
        self.detector = bench.publisher(Detection2DArray, "sign/detections", qos.RESULTS)

    def show(self, stamp: int, image: np.ndarray) -> None:
        before = self.node.counts.received
        self.camera.publish(rgb_to_image(image, Header(stamp=ns_to_stamp(stamp))))
        self.bench.until(lambda: self.node.counts.received > before)

    def detect(self, stamp: int, *boxes: tuple[float, float, float, float, int]) -> Boxes:
        """The signs that come for so many boxes, each x1, y1, x2, y2, class."""
        before = len(self.answers)
        found = Boxes.truth([box[:4] for box in boxes], [box[4] for box in boxes])
        self.detector.publish(boxes_to_msg(found, Header(stamp=ns_to_stamp(stamp))))
        self.bench.until(lambda: len(self.answers) > before)
        assert self.answers[-1].header.stamp == ns_to_stamp(stamp)
        return msg_to_boxes(self.answers[-1])


@pytest.fixture
def options(bundle) -> dict:
    return {"bundle": str(bundle.path), "image_reliability": "reliable", "regions": "detections"}


def test_each_detected_sign_is_classified(bench, bundle, options):
    signs = Signs(bench(**options, region_class=str(SIGN)))
    image = picture(3, 60, 80)
    signs.show(5, image)
    signs.show(6, picture(4, 60, 80))
    boxes = [
        (10, 20, 30, 44, SIGN),
        (40, 2, 60, 20, CAR),
        (50, 30, 95, 70, SIGN),
        (1, 1, 3, 3, SIGN),
    ]
    found = signs.detect(5, *boxes)
    # The larger first; clipped to the picture to look at; too small to show anything is left out.
    np.testing.assert_allclose(found.boxes, [boxes[2][:4], boxes[0][:4]], atol=1e-3)
    runner = ModelRunner(bundle, Task.CLASSIFICATION)
    regions = [image[30:60, 50:80], image[20:44, 10:30]]
    expected = [runner.infer(np.ascontiguousarray(region)) for region in regions]
    assert found.labels.tolist() == [answer.prediction for answer in expected]
    np.testing.assert_allclose(found.scores, [answer.confidence for answer in expected], rtol=1e-6)
    signs.bench.until(lambda: bool(signs.features))
    mean = np.mean([answer.features for answer in expected], axis=0)
    np.testing.assert_allclose(signs.features[0].features, mean, rtol=1e-5)

    assert len(signs.detect(6, boxes[1])) == 0, "a picture without signs is answered, too"


@pytest.mark.parametrize("region_class", ["", "traffic sign"])
def test_detectors_may_name_their_classes_or_leave_them_out(bench, options, region_class):
    signs = Signs(bench(**options, region_class=region_class))
    signs.show(5, picture(3, 60, 80))
    header = Header(stamp=ns_to_stamp(5))
    found = boxes_to_msg(
        Boxes.truth([[10, 20, 30, 44], [40, 2, 60, 20], [0, 0, 9, 9]], [1] * 3), header
    )
    for detection, name in zip(found.detections, ("car", "traffic sign"), strict=False):
        detection.results[0].hypothesis.class_id = name
    found.detections[2].results = []
    signs.detector.publish(found)
    signs.bench.until(lambda: bool(signs.answers))
    assert len(signs.answers[0].detections) == (1 if region_class else 3)
    assert signs.node.counts.unreadable.count == 0


def test_pictures_without_their_detections_are_counted(bench, options):
    signs = Signs(bench(**options))
    for stamp in range(1, 20):
        signs.show(stamp, picture(1))
    assert signs.node.report()[1]["pictures_without_detections"] == 19 - 16


def test_a_detector_that_stops_is_said(bench, options, monkeypatch):
    monkeypatch.setattr(input_watchdog, "SILENCE_SECONDS", 1.5)
    signs = Signs(bench(**options))
    diagnostics = signs.bench.collect(DiagnosticArray, "/diagnostics")
    stamp = 0

    def says(text: str) -> bool:
        nonlocal stamp
        stamp += 1
        signs.show(stamp, picture(1))
        return bool(diagnostics) and text in diagnostics[-1].status[0].message

    for _ in range(2):
        signs.bench.until(lambda: says("on /sign/detections (asked for reliable, depth 10); 1 pub"))
        assert diagnostics[-1].status[0].message.endswith("so no picture is looked at")
        signs.detect(stamp)
        signs.bench.until(lambda: says("running"))


def test_detections_without_their_picture_are_counted(bench, options):
    signs = Signs(bench(**options))
    nothing = boxes_to_msg(Boxes.truth([], []), Header(stamp=ns_to_stamp(99)))
    signs.detector.publish(nothing)
    signs.bench.until(lambda: signs.node.report()[1]["detections_without_picture"] == 1)
    assert not signs.answers


def test_quality_of_service_can_be_overridden(bench, bundle, tmp_path):
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text(
        "/**:\n  ros__parameters:\n"
        "    qos_overrides./sign/image_raw.subscription.reliability: reliable\n"
        "    qos_overrides./patch_sets/signs.subscription.depth: 7\n"
    )
    at = bench(params_file=str(overrides), bundle=str(bundle.path))
    node = at.start(SignClassifier)
    for _ in range(2):
        at.until(lambda: bool(at.probe.get_subscriptions_info_by_topic("/sign/image_raw")))
        infos = at.probe.get_subscriptions_info_by_topic("/sign/image_raw")
        assert [info.qos_profile.reliability for info in infos] == [ReliabilityPolicy.RELIABLE]
        # Whoever else uses the profile is not told to.
        assert qos.LATCHED.depth == 1
        # Activated again it is still so.
        node.trigger_deactivate()
        node.trigger_activate()
