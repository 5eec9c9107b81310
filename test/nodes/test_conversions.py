"""Labels, results and stamps through ROS messages and back."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from patchline_ros.messages.labels import ConversionError
from patchline_ros.nodes import conversions
from patchline_ros.tasks import Boxes, Sample, Task

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)


def header() -> Header:
    return Header(stamp=Time(sec=12, nanosec=345), frame_id="camera")


LABELS = {
    Task.CLASSIFICATION: 3,
    Task.DETECTION: Boxes.truth([[0.5, 1.25, 3.0, 4.0], [1, 1, 5, 6]], [2, 0]),
    Task.SEGMENTATION: RNG.integers(0, 6, (6, 5), dtype=np.uint8),
}


@pytest.mark.parametrize("task", list(Task))
def test_labelled_frame_and_back(task):
    msg = conversions.labelled_frame_to_msg("a", task, Sample(RGB, LABELS[task]), header())
    name, found, stamp, sample = conversions.msg_to_labelled_frame(msg)
    assert (name, found, stamp) == ("a", task, 12_000_000_345)
    np.testing.assert_array_equal(sample.image, RGB)
    if isinstance(sample.label, Boxes):
        np.testing.assert_array_equal(sample.label.boxes, LABELS[task].boxes)
        np.testing.assert_array_equal(sample.label.labels, LABELS[task].labels)
    else:
        np.testing.assert_array_equal(sample.label, LABELS[task])


def test_a_frame_without_objects_is_a_label():
    nothing = Sample(RGB, Boxes.truth([], []))
    msg = conversions.labelled_frame_to_msg("a", Task.DETECTION, nothing, header())
    assert len(conversions.msg_to_labelled_frame(msg)[3].label) == 0


def spoil_id(msg):
    msg.id = ""


def spoil_task(msg):
    msg.task = "lane"


def spoil_sign(msg):
    msg.sign.results = []


def spoil_class(msg):
    msg.objects.detections[0].results[0].hypothesis.class_id = "car"


def spoil_size(msg):
    msg.objects.detections[0].bbox.size_x = -1.0


def spoil_area(msg):
    msg.objects.detections[1].bbox.size_y = 0.0


def spoil_place(msg):
    msg.objects.detections[1].bbox.center.position.x = 40.0


def spoil_mask(msg):
    msg.lanes = conversions.mask_to_image(np.zeros((5, 5), np.uint8), msg.header)


def spoil_mask_encoding(msg):
    msg.lanes.encoding = "rgb8"


@pytest.mark.parametrize(
    ("task", "spoil", "says"),
    [
        (Task.CLASSIFICATION, spoil_id, "no id"),
        (
            Task.CLASSIFICATION,
            spoil_task,
            "task is 'lane'; use one of classification, detection, segmentation",
        ),
        (Task.CLASSIFICATION, spoil_sign, "0 results"),
        (Task.DETECTION, spoil_class, "class id is 'car'"),
        (Task.DETECTION, spoil_size, "detection 0 has a box of -1.0"),
        (Task.DETECTION, spoil_area, "box 1 is empty: 4.0 x 0.0"),
        (Task.DETECTION, spoil_place, "box 1 .* leaves its picture of 5 x 6"),
        (Task.SEGMENTATION, spoil_mask, "class map is 5 x 5 pixels, its picture is 5 x 6"),
        (Task.SEGMENTATION, spoil_mask_encoding, "must be mono8"),
    ],
)
def test_malformed_labelled_frame(task, spoil, says):
    msg = conversions.labelled_frame_to_msg("a", task, Sample(RGB, LABELS[task]), header())
    spoil(msg)
    with pytest.raises(ConversionError, match=says):
        conversions.msg_to_labelled_frame(msg)


def test_results_carry_the_header_of_their_picture():
    found = conversions.boxes_to_msg(LABELS[Task.DETECTION], header())
    assert found.header == header() and found.detections[0].header == header()
    assert conversions.mask_to_image(GREY, header()).header == header()
    assert conversions.classification_to_msg(1, 0.5, header()).header == header()


def test_label_info_counts_from_zero():
    info = conversions.label_info(("road", "car"), header())
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, "road"), (1, "car")]


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps(nanoseconds):
    assert conversions.stamp_to_ns(conversions.ns_to_stamp(nanoseconds)) == nanoseconds
