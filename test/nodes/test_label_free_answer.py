"""A perception node shows what its model sees, and the adapter answers a drift by it."""

import json

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from lanes import RELIABLE
from patchline_ros.msg import AdaptationStatus, DriftStatus, PatchStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import SIDE, make_bundle, picture

from patchline_ros.adaptation.unlabelled_frames import LEAST_UNLABELLED
from patchline_ros.nodes import qos
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.conversions import ns_to_stamp, rgb_to_image
from patchline_ros.nodes.lane_segmenter import LaneSegmenter

SECOND = 1_000_000_000
BEGAN = 100 * SECOND


def at(number: int) -> Header:
    """A tenth of a second after the one before: every second picture is a sample."""
    return Header(stamp=ns_to_stamp(BEGAN + number * SECOND // 10))


def test_a_drift_is_answered_without_labels(bench, tmp_path):
    bundle = make_bundle(tmp_path / "b", source_entropy=0.5, promised_gain=0.5)
    graph = bench(
        bundle=str(bundle.path),
        store=str(tmp_path / "store"),
        image_reliability="reliable",
        queue_depth=50,
        labels="none",
    )
    runs = graph.collect(PatchStatus, "lane_segmenter/patch_status", qos.LATCHED)
    statuses = graph.collect(AdaptationStatus, "adaptation_status", qos.LATCHED)
    segmenter, adapter = graph.start(LaneSegmenter), graph.start(AdapterNode)
    assert segmenter.started and adapter.started
    samples = graph.collect(Image, "lane_segmenter/samples")
    camera = graph.publisher(Image, "image_raw", RELIABLE)
    drift = graph.publisher(DriftStatus, "drift_status", qos.RESULTS)

    def read(number: int) -> None:
        """The drift monitor reads a drift at that picture."""
        began = ns_to_stamp(BEGAN - SECOND)
        drift.publish(
            DriftStatus(
                header=at(number), mmd2=0.4, threshold=0.1, drifting=True, window=8, since=began
            )
        )

    # Pictures count from the notice on, not from when the drift may have begun.
    read(0)
    graph.until(lambda: adapter._loop._planner.awaits_answer)
    for number in range(2 * LEAST_UNLABELLED):
        before = len(samples)
        camera.publish(rgb_to_image(picture(number, 24, 40), at(number)))
        if number % 2 == 0:
            graph.until(lambda before=before: len(samples) > before)
    stamps = [sample.header.stamp for sample in samples]
    assert stamps == [at(number).stamp for number in range(0, 2 * LEAST_UNLABELLED, 2)]
    assert {(sample.height, sample.width) for sample in samples} == {(SIDE, SIDE)}

    read(2 * LEAST_UNLABELLED)
    graph.until(lambda: bool(runs) and runs[-1].version == 1, seconds=60)
    assert runs[-1].state == PatchStatus.ACTIVE
    graph.until(lambda: statuses[-1].state == AdaptationStatus.FINISHED)
    report = json.loads(statuses[-1].episode_json)
    assert report["basis"] == "prediction"
    assert report["accepted"] == {"segmentation": True}
    assert report["collected"] == {"segmentation": LEAST_UNLABELLED}
    answering = [s for s in statuses if s.state == AdaptationStatus.ANSWERING]
    assert answering[0].collected == LEAST_UNLABELLED
