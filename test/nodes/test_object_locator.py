"""Objects in space over real topics."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import boxes_to_msg, bytes_field, ns_to_stamp
from patchline_ros.nodes.object_locator import ObjectLocator
from patchline_ros.tasks import Boxes

HEIGHT, WIDTH, FOCAL = 480, 640, 500.0
BOX = (420.0, 140.0, 520.0, 340.0)
"""Of something 0.4 m wide and 0.8 m high at 2 m, 0.6 m to the right."""


def depth_msg(seconds, encoding):
    """A wall at 6 m, with something at 2 m in BOX, half of which was not measured."""
    metres = np.full((HEIGHT, WIDTH), 6.0, np.float32)
    metres[140:340, 420:520] = 2.0
    metres[140:340:2, 420:520] = np.nan
    values = metres
    if encoding == "16UC1":
        values = np.nan_to_num(metres * 1000).astype(np.uint16)
    return Image(
        header=Header(stamp=ns_to_stamp(seconds * 10**9), frame_id="optical"),
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        step=WIDTH * values.itemsize,
        data=bytes_field(values.tobytes()),
    )


class Space:
    """The node, and all that it hears and says."""

    def __init__(self, at):
        self.at = at
        self.found = at.collect(Detection3DArray, "object_locator/detections")
        self.markers = at.collect(MarkerArray, "object_locator/markers")
        self.diagnostics = at.collect(DiagnosticArray, "/diagnostics")
        at.start(ObjectLocator)
        self.depth = at.publisher(Image, "depth/image_raw", qos.images("reliable", 10))
        self.detections = at.publisher(Detection2DArray, "object_detector/detections", qos.RESULTS)
        self.infos = at.publisher(CameraInfo, "depth/camera_info", qos.images("reliable"))

    def calibrate(self, width=WIDTH):
        k = [FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
        self.infos.publish(CameraInfo(height=HEIGHT, width=width, k=k))

    def detect(self, seconds, *rows):
        boxes = np.array(rows, np.float32).reshape(-1, 4)
        found = Boxes(boxes, np.full(len(rows), 1), np.ones(len(rows), np.float32))
        header = Header(stamp=ns_to_stamp(round(seconds * 10**9)), frame_id="optical")
        self.detections.publish(boxes_to_msg(found, header, [str(7 + i) for i in range(len(rows))]))

    def values(self):
        return {v.key: v.value for msg in self.diagnostics for v in msg.status[0].values}

    def says(self, text):
        return any(text in status.message for msg in self.diagnostics for status in msg.status)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_an_object_is_where_its_box_and_its_depth_say(encoding, bench):
    space = Space(bench())
    space.calibrate()
    space.at.spin(0.3)
    space.detect(7.01, BOX, (700.0, 10.0, 720.0, 30.0))
    space.depth.publish(depth_msg(7, encoding))
    space.depth.publish(depth_msg(8, encoding))
    space.at.until(lambda: bool(space.found and space.markers))
    header = space.found[0].header
    assert (header.frame_id, header.stamp.sec, header.stamp.nanosec) == ("optical", 7, 10_000_000)
    (one,) = space.found[0].detections
    centre, size = one.bbox.center.position, one.bbox.size
    assert (centre.x, centre.y, centre.z) == pytest.approx((0.6, 0.0, 2.0), abs=1e-3)
    assert (size.x, size.y, size.z) == pytest.approx((0.4, 0.8, 0.0), abs=1e-3)
    assert (one.id, one.results[0].hypothesis.class_id) == ("7", "1")
    assert one.results[0].pose.pose == one.bbox.center
    first, cube, name = space.markers[0].markers
    assert first.action == Marker.DELETEALL and cube.pose == one.bbox.center
    assert name.text == "7" and name.pose.position.y < centre.y - size.y / 2
    space.at.until(lambda: space.values().get("without_depth") == "1")


def test_what_does_not_fit_is_said(bench):
    space = Space(bench())
    space.detect(7, BOX)
    space.depth.publish(depth_msg(7, "32FC1"))
    space.at.until(lambda: space.says("no camera_info has come on /depth/camera_info"))
    space.calibrate(width=320)
    space.at.spin(0.3)
    space.detect(8, BOX)
    space.depth.publish(depth_msg(8, "32FC1"))
    space.at.until(lambda: space.says("is of pictures of 320 x 480, the depth is 640 x 480"))
    picture = depth_msg(9, "16UC1")
    picture.encoding = "mono16"
    space.detect(9, BOX)
    space.depth.publish(picture)
    space.at.until(lambda: space.says("depth must be 16UC1 or 32FC1, this picture is 'mono16'"))
    assert space.found == []
