"""Pictures between processes over real DDS with the shipped profile."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.msg import FrameFeatures

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns

SENT = 150
RATE_HZ = 30


def test_99_percent_of_640x480_are_processed(car):
    """640x480 bgr8, best effort, from another process, every frame asked for."""
    features = car.probe.collect(FrameFeatures, "sign_classifier/features", qos.LABELLED_FRAMES)
    car.start("sign_classifier", queue_depth=10, sample_every=1)
    script = str(Path(__file__).with_name("image_publisher.py"))
    answers = "/sign_classifier/features"
    car.run("camera", [sys.executable, script, "/image_raw", answers, str(SENT), str(RATE_HZ)])
    car.probe.until(
        lambda: f"sent {SENT}" in car.log("camera"),
        progress=lambda: (len(features), car.progress()),
    )
    car.probe.spin(1.0)
    seen = [stamp for msg in features if (stamp := stamp_to_ns(msg.header.stamp))]
    assert seen == sorted(set(seen))
    assert len(seen) >= 0.99 * SENT, car.log("camera") + car.log("sign_classifier")
