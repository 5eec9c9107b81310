"""The perception nodes over real topics: results, bad input, what they are set to."""

import time

import cv2
import pytest
import torch

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from lanes import RELIABLE, Lanes, patch_set_msg, picture_msg
from patchline_ros.msg import FrameFeatures, PatchSet, PatchStatus
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from tiny_bundle import CLASSES, export_graphs, make_bundle, make_patch_set, picture
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.nodes import input_watchdog, qos, refusals
from patchline_ros.nodes.conversions import (
    bytes_field,
    ns_to_stamp,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.nodes.object_detector import ObjectDetector
from patchline_ros.nodes.sign_classifier import SignClassifier
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.patching.patch_set import read_metadata
from patchline_ros.sim import RoadSimulator
from patchline_ros.tasks import Task

SHIPPED = bundle_folder(share_folder(), recorded=False)
NODES = {
    Task.CLASSIFICATION: (SignClassifier, Classification, "classification", "sign/image_raw"),
    Task.DETECTION: (ObjectDetector, Detection2DArray, "detections", "image_raw"),
    Task.SEGMENTATION: (LaneSegmenter, Image, "mask", "image_raw"),
}


@pytest.mark.parametrize("task", list(Task))
def test_every_result_has_the_header_of_its_picture(task, bench, bundle):
    kind, message_type, result, topic = NODES[task]
    name = NODE_OF_TASK[task]
    at = bench(bundle=str(bundle.path), image_reliability="reliable")
    results = at.collect(message_type, f"{name}/{result}")
    features = at.collect(FrameFeatures, f"{name}/features")
    at.start(kind)
    labels = at.collect(LabelInfo, f"{name}/label_info", qos.LATCHED)
    camera = at.publisher(Image, topic, RELIABLE)
    sent = picture_msg(7)
    camera.publish(sent)
    at.until(lambda: bool(results and features and labels))
    assert results[0].header == sent.header
    assert features[0].header == sent.header
    assert (features[0].task, features[0].patch_version) == (str(task), 0)
    assert len(features[0].features) == bundle.drift_reference.width
    assert tuple(c.class_name for c in labels[0].class_map) == CLASSES[task]


def test_compressed_pictures(bench, bundle):
    at = bench(bundle=str(bundle.path), image_transport="compressed")
    results = at.collect(Image, "lane_segmenter/mask")
    at.start(LaneSegmenter)
    camera = at.publisher(CompressedImage, "image_raw/compressed", RELIABLE)
    data = cv2.imencode(".jpg", picture(1, 24, 40))[1].tobytes()
    camera.publish(CompressedImage(format="jpeg", data=bytes_field(data)))
    at.until(lambda: bool(results))
    assert (results[0].height, results[0].width) == (24, 40)


def broken_pictures() -> dict[str, Image]:
    """A picture for each way to be wrong, by what the log must say."""
    changes = {
        "encoding is 'bayer'": {"encoding": "bayer"},
        "100 bytes of data": {"data": bytes_field(bytes(100))},
        "step is 10 bytes": {"step": 10},
        "picture is empty": {"height": 0, "data": bytes_field(b"")},
    }
    broken = {}
    for says, fields in changes.items():
        broken[says] = picture_msg(0)
        for name, value in fields.items():
            setattr(broken[says], name, value)
    return broken


def test_a_broken_picture_is_skipped_with_the_reason(lanes):
    for says, msg in broken_pictures().items():
        lanes.camera.publish(msg)
        lanes.bench.until(lambda says=says: lanes.bench.said(says))
    assert lanes.bench.said("picture on /image_raw skipped")
    diagnostics = lanes.bench.collect(DiagnosticArray, "/diagnostics")
    lanes.masks_of(1)
    lanes.bench.until(
        lambda: any(values(msg)["processed"] == "1" for msg in diagnostics if msg.status)
    )
    last = values(diagnostics[-1])
    assert (last["received"], last["unreadable"]) == ("5", "4")
    assert last["patch_version"] == "0" and float(last["memory_mib"]) > 50
    assert 0 < float(last["model_ms_p50"]) <= float(last["latency_ms_p95"])
    assert 0 < float(last["processor_ms_p50"]) <= float(last["latency_ms_p50"])


def test_diagnostics_say_how_many_pictures_a_second_come_and_are_answered(lanes):
    diagnostics = lanes.bench.collect(DiagnosticArray, "/diagnostics")
    begun = time.monotonic()
    while time.monotonic() < begun + 4:
        lanes.masks_of(1)
        lanes.bench.spin(0.1)
    per_second = lanes.node.counts.received / (time.monotonic() - begun)
    for name in ("received_hz", "processed_hz"):
        found = [float(values(msg)[name]) for msg in diagnostics[1:]]
        assert sum(found) / len(found) == pytest.approx(per_second, rel=0.3)


def test_diagnostics_warn_of_a_broken_picture_for_a_while_only(lanes, monkeypatch):
    monkeypatch.setattr(refusals, "RECENT_SECONDS", 2.5)
    diagnostics = lanes.bench.collect(DiagnosticArray, "/diagnostics")
    lanes.camera.publish(next(iter(broken_pictures().values())))
    lanes.bench.until(lambda: any("unreadable" in msg.status[0].message for msg in diagnostics))
    lanes.bench.until(lambda: diagnostics[-1].status[0].message == "running")
    assert values(diagnostics[-1])["unreadable"] == "1"
    lanes.bench.call(SetBool, "lane_segmenter/enable", data=False)
    lanes.bench.until(lambda: diagnostics[-1].status[0].message == "disabled")


def values(msg: DiagnosticArray) -> dict[str, str]:
    return {value.key: value.value for value in msg.status[0].values}


@pytest.mark.parametrize("damage", ["missing", "truncated", "no_manifest", "other_json", "unnamed"])
def test_a_bad_bundle_is_named_at_configure(damage, bench, tmp_path):
    path = tmp_path / "bundle"
    says = {
        "missing": f"bundle {path} does not exist",
        "truncated": f"bundle {path} is damaged: segmentation.safetensors",
        "no_manifest": f"bundle {path} has no manifest.json",
        "other_json": "bundle manifest",
        "unnamed": "parameter bundle is empty",
    }[damage]
    if damage != "missing":
        make_bundle(path)
    if damage == "truncated":
        weights = path / "segmentation.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no_manifest":
        (path / "manifest.json").unlink()
    elif damage == "other_json":
        (path / "manifest.json").write_text("{}")
    at = bench(bundle="" if damage == "unnamed" else str(path))
    assert not at.start(LaneSegmenter).started
    at.until(lambda: at.said(says))


def test_a_disabled_node_takes_no_picture_but_hears_patch_sets(lanes, bundle):
    assert lanes.bench.call(SetBool, "lane_segmenter/enable", data=False).message == "disabled"
    lanes.camera.publish(picture_msg(1))
    status = lanes.send(patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1)))
    assert status.state == PatchStatus.ACTIVE
    assert not lanes.masks
    lanes.bench.call(SetBool, "lane_segmenter/enable", data=True)
    lanes.masks_of(2)
    assert (lanes.node.counts.received, lanes.node.counts.not_sampled) == (2, 1)


def test_the_overlay_is_drawn_for_whoever_looks(lanes):
    lanes.masks_of(1)
    overlays = lanes.bench.collect(Image, "lane_segmenter/debug/image", RELIABLE)
    lanes.bench.until(lambda: lanes.bench.probe.count_publishers("lane_segmenter/debug/image") > 0)
    lanes.bench.spin(0.3)
    lanes.masks_of(2)
    lanes.bench.until(lambda: bool(overlays))
    assert (overlays[0].encoding, overlays[0].height, overlays[0].width) == ("rgb8", 24, 40)
    assert overlays[0].header == picture_msg(2).header


def test_diagnostics_have_the_gate_of_the_patch_set_that_runs(lanes, bundle):
    diagnostics = lanes.bench.collect(DiagnosticArray, "/diagnostics")
    gate = {"before": 0.5, "after": 0.875, "error": 0.03125, "frames": 16, "best_epoch": 3}
    patch_set = make_patch_set(bundle, Task.SEGMENTATION, 4, metrics=gate)
    assert lanes.send(patch_set_msg(patch_set, version=4)).version == 4
    lanes.bench.until(lambda: diagnostics and values(diagnostics[-1]).get("patch_version") == "4")
    found = {key: value for key, value in values(diagnostics[-1]).items() if "gate" in key}
    assert found == {
        "gate_before": "0.5",
        "gate_after": "0.875",
        "gate_error": "0.03125",
        "gate_frames": "16",
    }
    lanes.bench.call(Trigger, "lane_segmenter/rollback")
    lanes.bench.until(lambda: values(diagnostics[-1])["patch_version"] == "0")
    assert "gate_before" not in values(diagnostics[-1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_half_precision_without_a_gpu_is_refused_with_a_sentence(bench, tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    refused = bench(bundle=str(bundle.path), half_precision=True)
    assert not refused.start(LaneSegmenter).started
    refused.until(lambda: refused.said("half_precision is for a GPU, and the device is the CPU"))


def test_onnx_runtime_gives_the_same_masks_and_takes_patch_sets(bench, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    bundle = make_bundle(tmp_path / "bundle")
    msg = patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1))
    values = {"bundle": str(bundle.path), "image_reliability": "reliable"}
    refused = bench(**values, backend="onnx")
    assert not refused.start(LaneSegmenter).started
    refused.until(lambda: refused.said("parameters backend and device: there is no ONNX graph"))
    refused.close()
    export_graphs(bundle, [Task.SEGMENTATION])
    masks = {}
    for backend in ("onnx", "pytorch"):
        lanes = Lanes(bench(**values, backend=backend))
        masks[backend] = lanes.masks_of(1, 2)
        assert lanes.send(msg).state == PatchStatus.ACTIVE
        masks[backend] += lanes.masks_of(1, 2)
        lanes.bench.close()
    assert masks["onnx"] == masks["pytorch"]
    assert masks["onnx"][:2] != masks["onnx"][2:]


def test_deactivated_node_is_silent_and_comes_back(lanes):
    lanes.node.trigger_deactivate()
    lanes.camera.publish(picture_msg(1))
    lanes.bench.spin(0.3)
    assert not lanes.masks
    lanes.node.trigger_activate()
    lanes.bench.until(lambda: lanes.camera.get_subscription_count() == 1)
    lanes.masks_of(2)
    lanes.node.trigger_deactivate()
    lanes.node.trigger_cleanup()
    lanes.node.trigger_configure()
    lanes.node.trigger_activate()
    lanes.bench.until(lambda: lanes.camera.get_subscription_count() == 1)
    lanes.masks_of(3)


def test_the_watchdog_names_topic_and_qos(bench, bundle, monkeypatch):
    monkeypatch.setattr(input_watchdog, "SILENCE_SECONDS", 0.1)
    at = bench(bundle=str(bundle.path), image_reliability="reliable")
    at.start(LaneSegmenter)
    at.until(lambda: at.said("on /image_raw (asked for reliable, depth 30); 0 publishers there"))


def test_every_nth_picture(bench, bundle):
    at = bench(
        bundle=str(bundle.path), image_reliability="reliable", sample_every=3, queue_depth=20
    )
    masks = at.collect(Image, "lane_segmenter/mask")
    at.start(LaneSegmenter)
    camera = at.publisher(Image, "image_raw", RELIABLE)
    for number in range(7):
        camera.publish(picture_msg(number))
    at.until(lambda: len(masks) == 3)
    stamps = [mask.header.stamp for mask in masks]
    assert stamps == [picture_msg(number).header.stamp for number in (0, 3, 6)]


def test_at_most_so_many_pictures_a_second_by_their_stamps(bench, bundle):
    """A bag that starts again goes back in time, and is looked at again."""
    at = bench(bundle=str(bundle.path), image_reliability="reliable", max_rate=2.0, queue_depth=20)
    masks = at.collect(Image, "lane_segmenter/mask")
    node = at.start(LaneSegmenter)
    camera = at.publisher(Image, "image_raw", RELIABLE)
    sent = (1000, 1400, 1500, 1999, 2000, 2700, 1200, 1600, 1700)
    for milliseconds in sent:
        msg = picture_msg(0)
        msg.header.stamp = ns_to_stamp(milliseconds * 1_000_000)
        camera.publish(msg)
    at.until(lambda: node.counts.received == len(sent) and len(masks) == 6)
    stamps = [stamp_to_ns(mask.header.stamp) // 1_000_000 for mask in masks]
    assert stamps == [1000, 1500, 2000, 2700, 1200, 1700]
    assert node.counts.not_sampled == 3


def test_a_slow_model_gets_the_latest_picture(bench, bundle, monkeypatch):
    at = bench(bundle=str(bundle.path), image_reliability="reliable")
    masks = at.collect(Image, "lane_segmenter/mask")
    node = at.start(LaneSegmenter)
    camera = at.publisher(Image, "image_raw", RELIABLE)
    node._inference.between(lambda: time.sleep(0.5))
    for number in range(5):
        camera.publish(picture_msg(number))
        at.spin(0.03)
    at.until(lambda: bool(masks))
    assert masks[0].header.stamp == picture_msg(4).header.stamp
    assert node._inference.superseded == 4


def test_a_picture_without_a_stamp_has_that_of_its_arrival(lanes):
    before = time.time_ns()
    unstamped = picture_msg(0)
    unstamped.header.stamp = ns_to_stamp(0)
    for count in (1, 2, 3):
        lanes.camera.publish(unstamped)
        lanes.bench.until(lambda count=count: len(lanes.masks) == count)
    first, *others = [stamp_to_ns(mask.header.stamp) for mask in lanes.masks]
    # A recording may begin at 0.
    assert first == 0
    assert all(before <= stamp <= time.time_ns() for stamp in others)
    assert lanes.bench.said("come with a stamp of 0; the time at which they come is taken")


def test_an_object_keeps_its_id_through_a_swap(bench):
    at = bench(bundle=str(SHIPPED), image_reliability="reliable", queue_depth=20, min_score=0.5)
    found = at.collect(Detection2DArray, "object_detector/detections")
    statuses = at.collect(PatchStatus, "object_detector/patch_status", qos.LATCHED)
    at.start(ObjectDetector)
    camera = at.publisher(Image, "image_raw", RELIABLE)
    adapter = at.publisher(PatchSet, "patch_sets/objects", qos.LATCHED)
    shot = RoadSimulator(3).frame(40).image

    def look() -> dict[str, str]:
        """Class and id of what is seen now; the car stands still."""
        header = Header(stamp=ns_to_stamp((len(found) + 1) * 100_000_000))
        before = len(found)
        camera.publish(rgb_to_image(shot, header))
        at.until(lambda: len(found) > before)
        return {d.id: d.results[0].hypothesis.class_id for d in found[-1].detections}

    assert set(look()) == {""}
    first = look()
    assert first and "" not in first
    bundle = Bundle.load(SHIPPED)
    data = bundle.prepared(Task.DETECTION)
    fields = {
        "version": read_metadata(data).version or 1,
        "base_fingerprint": bundle.fingerprint(Task.DETECTION),
    }
    adapter.publish(patch_set_msg(data, Task.DETECTION, **fields))
    at.until(lambda: any(status.state == PatchStatus.ACTIVE for status in statuses))
    second = look()
    assert first.items() & second.items()
