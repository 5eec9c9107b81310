"""What a person is asked to label, out of real topics."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.msg import FrameFeatures
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tiny_bundle import CLASSES, picture
from vision_msgs.msg import Detection2DArray, LabelInfo

from patchline_ros.nodes import qos
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.conversions import boxes_to_msg, label_info, mask_to_image, ns_to_stamp
from patchline_ros.nodes.label_topics import LabelTopics
from patchline_ros.tasks import Boxes, Task
from patchline_ros.watch.label_desk import NotHeardError
from patchline_ros.watch.topics import CarTopics

HEADER = Header(stamp=ns_to_stamp(7_000_000_000), frame_id="camera_link")
IMAGE = picture(3, 32, 48)[..., :1].repeat(3, axis=2)


class Asked:
    """The topics of a task's model and its camera, and what a person is asked."""

    def __init__(self, bench: Any, task: Task, node: str, answer: str, kind: type) -> None:
        self.bench, self.task = bench, task
        self.topics = LabelTopics(bench.probe, CarTopics("", "image_raw", "", "compressed"))
        info = bench.probe.create_publisher(LabelInfo, f"{node}/label_info", qos.LATCHED)
        info.publish(label_info(CLASSES[task], Header()))
        self.camera = bench.publisher(CompressedImage, "image_raw/compressed", qos.images())
        self.answer = bench.publisher(kind, f"{node}/{answer}", qos.RESULTS)
        self.features = bench.publisher(FrameFeatures, f"{node}/features", qos.RESULTS)

    def of(self) -> dict[str, Any]:
        self.topics.look()
        return self.topics.desk.overview()["tasks"][self.task.value]

    def send(self, answer: Any) -> None:
        """The picture, the model's answer and its features, as often as it takes."""
        png = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()
        self.camera.publish(CompressedImage(header=HEADER, format="png", data=png))
        self.answer.publish(answer)
        self.features.publish(FrameFeatures(header=HEADER, task=str(self.task), entropy=0.5))
        self.bench.spin(0.05)


def test_a_classifier_of_regions_has_its_largest_region_labelled(bench: Any) -> None:
    at = Asked(bench(), Task.CLASSIFICATION, "sign_classifier", "signs", Detection2DArray)
    assert at.of()["missing"].startswith("sign_classifier has answered no picture yet")
    regions = Boxes(
        np.array([[9.6, 4, 30, 33], [2, 3, 8, 9]], np.float32),
        np.array([2, 1]),
        np.array([0.4, 0.9], np.float32),
    )
    at.bench.until(lambda: bool(at.send(boxes_to_msg(regions, HEADER)) or at.of()["frames"]))
    [name] = at.of()["frames"]
    frame = at.topics.desk.frame(name)
    assert (frame["width"], frame["height"], frame["proposal"]) == (20, 28, {"class_id": 2})
    assert frame["confidence"] == pytest.approx(0.4)
    shown = cv2.imdecode(np.frombuffer(at.topics.desk.picture(name), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - IMAGE[4:32, 10:30]).mean() < 4
    with pytest.raises(NotHeardError, match="nobody hears /labelled_frames, so the label was not"):
        at.topics.desk.take(name, b'{"class_id": 2}')
    assert at.of()["frames"] == [name]


def test_what_can_not_be_labelled_is_named_and_the_adapter_is_asked(
    bench: Any, bundle: Any, tmp_path: Any
) -> None:
    made = bench(bundle=str(bundle.path), store=str(tmp_path), min_frames=17, labels="none")
    at = Asked(made, Task.SEGMENTATION, "lane_segmenter", "mask", Image)
    made.start(AdapterNode)
    small = mask_to_image(np.zeros((8, 8), np.uint8), HEADER)
    says = "a picture of lane_segmenter can't be labelled: its class map is of another size"
    made.until(lambda: bool(at.send(small) or made.said(says)))
    assert at.of() == {"classes": [*CLASSES[at.task]], "frames": [], "sent": 0, "missing": ""}
    made.until(lambda: bool(at.of()) and at.topics.desk.overview()["least_frames"] == 17)
    assert at.topics.desk.overview()["need"]["word"] == "Not needed"
