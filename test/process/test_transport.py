"""Pictures between processes over real DDS with the shipped profile."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

SENT = 150
RATE_HZ = 30


def test_99_percent_of_640x480_are_processed(car):
    """640x480 bgr8, best effort, from another process, every frame asked for."""
    car.start("sign_classifier", queue_depth=10, sample_every=1)
    script = str(Path(__file__).with_name("image_publisher.py"))
    arguments = ["/image_raw", "/sign_classifier/features", str(SENT), str(RATE_HZ)]
    camera = car.run("camera", [sys.executable, script, *arguments])
    car.probe.until(lambda: camera.poll() == 0, progress=car.progress)
    answered = [int(line) for line in car.log("camera").splitlines() if line.isdigit()]
    assert answered == sorted(set(answered))
    assert len(answered) >= 0.99 * SENT, car.log("sign_classifier")
