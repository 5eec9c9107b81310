"""The drift monitor over real topics."""

import gc
import weakref
from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import DriftStatus, FrameFeatures
from raw_features import raw_features
from std_msgs.msg import Header

from patchline_ros.nodes import input_watchdog, qos, refusals
from patchline_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from patchline_ros.nodes.drift_monitor import DriftMonitorNode


def test_drift_is_seen_once_the_window_is_full(bench, bundle):
    at = bench(bundle=str(bundle.path))
    statuses = at.collect(DriftStatus, "drift_status", qos.LABELLED_FRAMES)
    at.start(DriftMonitorNode)
    features = at.publisher(FrameFeatures, "lane_segmenter/features", qos.LABELLED_FRAMES)
    reference = bundle.drift_reference
    raw = raw_features(reference)

    def send(number: int, values: np.ndarray) -> None:
        header = Header(stamp=ns_to_stamp(number), frame_id="camera_link")
        data = array("f", values.astype(np.float32).tobytes())
        features.publish(FrameFeatures(header=header, task="segmentation", features=data))
        at.spin(0.01)

    for number in range(1, 13):
        send(number, raw[number])
    at.until(lambda: len(statuses) == 12 - reference.window + 1)
    assert not any(status.drifting for status in statuses)
    assert statuses[0].threshold == pytest.approx(reference.threshold)
    assert statuses[0].window == reference.window

    for number in range(13, 25):
        send(number, raw[number] + 5 * raw.std(axis=0))
    at.until(lambda: len(statuses) == 24 - reference.window + 1)
    drifting = [status for status in statuses if status.drifting]
    assert statuses[-1].drifting and statuses[-1].p_value < 0.05
    first_seen = stamp_to_ns(drifting[0].header.stamp)
    oldest_of_window = first_seen - reference.window + 1
    assert first_seen > 12
    assert all(stamp_to_ns(status.since) == oldest_of_window for status in drifting)
    assert drifting[0].header.frame_id == "camera_link"
    assert at.said("drift: MMD^2")

    # A reading below the threshold ends no drift: one that hovers there would fill the log.
    for number in range(25, 25 + reference.window):
        send(number, raw[number % 12 + 1])
    at.until(lambda: not statuses[-1].drifting)
    assert not at.said("no drift any more")
    ended = 25 + 2 * reference.window
    for number in range(25 + reference.window, ended):
        send(number, raw[number % 12 + 1])
    at.until(lambda: at.said("no drift any more"))

    send(ended, np.zeros(3))
    at.until(lambda: at.said("another bundle or another node is publishing"))
    assert len(statuses) == ended - reference.window


def test_the_lifecycle_frees_what_it_loads_and_starts_with_an_empty_window(bench, bundle):
    at = bench(bundle=str(bundle.path))
    statuses = at.collect(DriftStatus, "drift_status", qos.LABELLED_FRAMES)
    node = at.start(DriftMonitorNode)
    reference = bundle.drift_reference
    loaded = weakref.ref(node._reference)
    features = at.publisher(FrameFeatures, "lane_segmenter/features", qos.LABELLED_FRAMES)
    raw = raw_features(reference)

    def send(count: int) -> int:
        """That many frames; readings that come for them."""
        before = len(statuses)
        for number in range(count):
            data = array("f", raw[number].astype(np.float32).tobytes())
            header = Header(stamp=ns_to_stamp(number + 1))
            features.publish(FrameFeatures(header=header, task="segmentation", features=data))
            at.spin(0.01)
        at.spin(0.3)
        return len(statuses) - before

    assert send(reference.window) == 1
    node.trigger_deactivate()
    assert send(reference.window) == 0
    node.trigger_activate()
    at.until(lambda: features.get_subscription_count() == 1)
    assert send(reference.window) == 1
    node.trigger_deactivate()
    node.trigger_cleanup()
    gc.collect()
    assert loaded() is None
    assert at.probe.count_publishers("drift_status") == 0
    node.trigger_configure()
    node.trigger_activate()
    at.until(lambda: features.get_subscription_count() == 1)
    assert send(reference.window) == 1


def test_diagnostics_say_that_no_features_come_and_forget_one_that_was_bad(
    bench, bundle, monkeypatch
):
    monkeypatch.setattr(input_watchdog, "SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(refusals, "RECENT_SECONDS", 1.2)
    at = bench(bundle=str(bundle.path))
    diagnostics = at.collect(DiagnosticArray, "/diagnostics")
    at.start(DriftMonitorNode)

    def message() -> str:
        return diagnostics[-1].status[0].message if diagnostics else ""

    says = "on /lane_segmenter/features (asked for reliable, depth 10); 0 publishers there"
    at.until(lambda: says in message())
    assert at.said("check that the lane_segmenter runs and gets pictures")
    features = at.publisher(FrameFeatures, "lane_segmenter/features", qos.LABELLED_FRAMES)
    features.publish(FrameFeatures(task="segmentation", features=array("f", [1.0])))
    at.until(lambda: message().startswith("1 features refused, the last: 1 features came"))
    good = array("f", bundle.drift_reference.whitening.mean.tobytes())

    def is_running() -> bool:
        header = Header(stamp=ns_to_stamp(1))
        features.publish(FrameFeatures(header=header, task="segmentation", features=good))
        return message() == "running"

    at.until(is_running)
