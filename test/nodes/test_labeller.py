"""The labeller over real topics."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import LabelledFrame
from ros_bench import Bench
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tiny_bundle import picture
from vision_msgs.msg import Classification, Detection2DArray

from patchline_ros.nodes import input_watchdog, qos
from patchline_ros.nodes.conversions import (
    boxes_to_msg,
    classification_to_msg,
    mask_to_image,
    msg_to_labelled_frame,
    ns_to_stamp,
    rgb_to_image,
)
from patchline_ros.nodes.labeller import LabellerNode
from patchline_ros.nodes.signed_labels import LabelCheck
from patchline_ros.signing import Verifier, make_keys
from patchline_ros.tasks import Boxes, Sample, Task

RELIABLE = qos.images("reliable", 20)
SECOND = 1_000_000_000
BOXES = Boxes(
    np.array([[2, 3, 20, 17], [30.5, 0, 47.25, 31]], np.float32),
    np.array([1, 0]),
    np.array([0.9, 0.7], np.float32),
)


def header(stamp: int) -> Header:
    return Header(stamp=ns_to_stamp(stamp), frame_id="camera_link")


class Labelled:
    """A labeller of the tasks, with the topics of the road's pictures and labels."""

    def __init__(self, bench: Bench, *kinds: tuple[str, type]) -> None:
        self.bench = bench
        self.frames = bench.collect(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)
        self.diagnostics = bench.collect(DiagnosticArray, "/diagnostics")
        self.node = bench.start(LabellerNode)
        assert self.node.started
        self.sends = {
            name: bench.publisher(kind, f"labeller/{name}", RELIABLE) for name, kind in kinds
        }

    def count(self, name: str) -> int:
        return self.node.report()[1][name]

    def read(self, number: int) -> tuple[str, Task, int, Sample]:
        """A labelled frame as the adapter reads it."""
        self.bench.until(lambda: len(self.frames) > number)
        return msg_to_labelled_frame(self.frames[number])


@pytest.fixture
def options(bundle) -> dict:
    return {"bundle": str(bundle.path), "image_reliability": "reliable"}


def test_boxes_and_masks_of_others_become_labelled_frames_once(bench, options):
    at = Labelled(
        bench(**options, tasks="detection,segmentation"),
        ("image_raw", Image),
        ("detections", Detection2DArray),
        ("mask", Image),
    )
    image = picture(5, 32, 48)
    mask = np.random.default_rng(1).integers(0, 3, (32, 48)).astype(np.uint8)
    mask[:4] = 255
    at.sends["detections"].publish(boxes_to_msg(BOXES, header(SECOND)))
    for _ in range(2):
        at.sends["image_raw"].publish(rgb_to_image(image, header(SECOND)))
    frame_id, task, stamp, sample = at.read(0)
    assert (task, stamp) == (Task.DETECTION, SECOND)
    assert at.frames[0].header == header(SECOND)
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_allclose(sample.label.boxes, BOXES.boxes, atol=1e-4)
    assert sample.label.labels.tolist() == [1, 0]

    at.sends["mask"].publish(mask_to_image(mask, header(SECOND)))
    name, task, stamp, sample = at.read(1)
    assert (name, task, stamp) == (frame_id, Task.SEGMENTATION, SECOND)
    np.testing.assert_array_equal(sample.label, mask)

    at.sends["detections"].publish(boxes_to_msg(BOXES, header(SECOND)))
    at.sends["mask"].publish(mask_to_image(mask, header(SECOND)))
    again = ("too_frequent_detection", "too_frequent_segmentation")
    at.bench.until(lambda: all(at.count(name) == 1 for name in again))
    assert len(at.frames) == 2


def test_it_signs_what_it_labels(bench, options, tmp_path):
    key, public = make_keys(tmp_path / "labels")
    at = Labelled(
        bench(**options, tasks="detection", signing_key=str(key)),
        ("image_raw", Image),
        ("detections", Detection2DArray),
    )
    at.sends["image_raw"].publish(rgb_to_image(picture(5, 32, 48), header(SECOND)))
    at.sends["detections"].publish(boxes_to_msg(BOXES, header(SECOND)))
    read = at.read(0)
    LabelCheck(Verifier(public), "/labelled_frames").check(at.frames[0], *read)


def test_a_label_of_a_foreign_class_is_refused_and_named_and_the_node_goes_on(bench, options):
    at = Labelled(
        bench(**options, tasks="detection"),
        ("image_raw", Image),
        ("detections", Detection2DArray),
    )
    for stamp in (SECOND, 2 * SECOND):
        at.sends["image_raw"].publish(rgb_to_image(picture(5, 32, 48), header(stamp)))
    foreign = boxes_to_msg(BOXES, header(SECOND))
    foreign.detections[0].results[0].hypothesis.class_id = "zebra"
    at.sends["detections"].publish(foreign)
    says = "label on /labeller/detections: the class id is 'zebra'; it must be one of the model's"
    at.bench.until(lambda: bool(at.diagnostics) and says in at.diagnostics[-1].status[0].message)
    assert at.bench.said(says)
    at.sends["detections"].publish(boxes_to_msg(BOXES, header(2 * SECOND)))
    assert at.read(0)[2] == 2 * SECOND
    assert len(at.frames) == at.count("refused_detection") == 1


def test_signs_are_labelled_on_compressed_pictures_of_their_own_within_the_slop(bench, options):
    at = Labelled(
        bench(**options, tasks="classification", image_transport="compressed", slop_ms=20),
        ("sign/image_raw/compressed", CompressedImage),
        ("classification", Classification),
    )
    image = picture(5, 32, 48)
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    for stamp in (1000, 1033):
        sent = CompressedImage(header=header(stamp * 1_000_000), format="png", data=png)
        at.sends["sign/image_raw/compressed"].publish(sent)
    at.sends["classification"].publish(classification_to_msg(2, 0.8, header(1020 * 1_000_000)))
    _, task, stamp, sample = at.read(0)
    assert (task, stamp, sample.label) == (Task.CLASSIFICATION, 1033 * 1_000_000, 2)
    np.testing.assert_array_equal(sample.image, image)


def test_diagnostics_say_that_no_label_comes_and_that_one_has_no_picture(
    bench, options, monkeypatch
):
    monkeypatch.setattr(input_watchdog, "SILENCE_SECONDS", 1.5)
    at = Labelled(
        bench(**options, tasks="detection"),
        ("image_raw", Image),
        ("detections", Detection2DArray),
    )
    stamp = 0

    def says(text: str, label: bool) -> bool:
        nonlocal stamp
        stamp += SECOND
        at.sends["image_raw"].publish(rgb_to_image(picture(5, 32, 48), header(stamp)))
        if label:
            at.sends["detections"].publish(boxes_to_msg(BOXES, header(stamp - SECOND // 2)))
        at.bench.spin(0.05)
        return bool(at.diagnostics) and text in at.diagnostics[-1].status[0].message

    at.bench.until(lambda: says("no label for detection for", label=False))
    at.bench.until(lambda: says("the last label on /labeller/detections found no pict", label=True))
    assert at.bench.said("the nearest is 500.000 ms away")
    assert not at.frames


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ("", "parameter tasks is empty; name the tasks to label, with commas between, of "),
        ("detection, depth", "parameter tasks names 'depth'; the bundle has "),
    ],
)
def test_tasks_that_are_none_are_one_clear_sentence(bench, options, tasks, says):
    at = bench(**options, tasks=tasks)
    assert not at.start(LabellerNode).started
    at.until(lambda: at.said(says))
