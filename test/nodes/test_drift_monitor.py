"""The drift monitor over real topics."""

from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.msg import DriftStatus, FrameFeatures
from std_msgs.msg import Header

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from patchline_ros.nodes.drift_monitor import DriftMonitorNode


def test_drift_is_seen_once_the_window_is_full(bench, bundle):
    at = bench(bundle=str(bundle.path))
    statuses = at.collect(DriftStatus, "drift_status", qos.LABELLED_FRAMES)
    at.start(DriftMonitorNode)
    features = at.publisher(FrameFeatures, "lane_segmenter/features", qos.LABELLED_FRAMES)
    reference = bundle.drift_reference
    raw = reference.features * reference.scale + reference.mean

    def send(number: int, values: np.ndarray) -> None:
        header = Header(stamp=ns_to_stamp(number), frame_id="camera_link")
        data = array("f", values.astype(np.float32).tobytes())
        features.publish(FrameFeatures(header=header, task="lanes", features=data))
        at.spin(0.01)

    for number in range(1, 13):
        send(number, raw[number])
    at.until(lambda: len(statuses) == 12 - reference.window + 1)
    assert not any(status.drifting for status in statuses)
    assert statuses[0].threshold == pytest.approx(reference.threshold)
    assert statuses[0].window == reference.window

    for number in range(13, 25):
        send(number, raw[number] + 5 * reference.scale)
    at.until(lambda: len(statuses) == 24 - reference.window + 1)
    drifting = [status for status in statuses if status.drifting]
    assert statuses[-1].drifting and statuses[-1].p_value < 0.05
    first_seen = stamp_to_ns(drifting[0].header.stamp)
    oldest_of_window = first_seen - reference.window + 1
    assert first_seen > 12
    assert all(stamp_to_ns(status.since) == oldest_of_window for status in drifting)
    assert drifting[0].header.frame_id == "camera_link"
    assert at.said("drift: MMD^2")

    send(25, np.zeros(3))
    at.until(lambda: at.said("another bundle or another node is publishing"))
    assert len(statuses) == 24 - reference.window + 1
