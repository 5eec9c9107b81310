"""The mask on the ground over real topics, and what is said when it can't be put there."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tiny_bundle import CLASSES
from visualization_msgs.msg import Marker, MarkerArray

from patchline_ros.nodes import qos, refusals
from patchline_ros.nodes.camera_messages import camera_info, mounting
from patchline_ros.nodes.conversions import mask_to_image, ns_to_stamp
from patchline_ros.nodes.ground_projector import GroundProjector
from patchline_ros.package_share import share_folder
from patchline_ros.sim import RoadSimulator
from patchline_ros.sim.world import ROAD_HALF
from patchline_ros.tasks import Task

OPTICAL = "camera_color_optical_frame"
BUNDLE = str(share_folder() / "resource" / "sim_road")
ROAD = RoadSimulator(3)
INDEX = 20


class Ground:
    """The node, and all that it hears and says."""

    def __init__(self, at):
        self.at = at
        self.grids = at.collect(OccupancyGrid, "ground_projector/drivable", qos.LATCHED)
        self.clouds = at.collect(PointCloud2, "ground_projector/boundary_points")
        self.markers = at.collect(MarkerArray, "ground_projector/boundaries")
        self.diagnostics = at.collect(DiagnosticArray, "/diagnostics")
        self.node = at.start(GroundProjector)
        self.masks = at.publisher(Image, "lane_segmenter/mask", qos.RESULTS)
        self.infos = at.publisher(CameraInfo, "camera_info", qos.images())
        self.frames = at.publisher(TFMessage, "/tf_static", qos.LATCHED)

    def send(self, seconds=7):
        header = Header(stamp=ns_to_stamp(seconds * 10**9), frame_id=OPTICAL)
        mask = ROAD.frame(INDEX).samples[Task.SEGMENTATION].label
        self.masks.publish(mask_to_image(mask, header))
        return header

    def says(self, text):
        """Sends another mask; whether the diagnostics have said it."""
        self.send()
        self.at.spin(0.05)
        return any(text in status.message for msg in self.diagnostics for status in msg.status)


def test_the_road_is_where_it_is(bench):
    ground = Ground(bench(bundle=BUNDLE))
    header = Header(frame_id=OPTICAL)
    ground.frames.publish(mounting(header, OPTICAL))
    ground.infos.publish(camera_info(ROAD.camera, header))
    ground.at.until(lambda: ground.send() and bool(ground.grids and ground.clouds))
    ground.at.until(lambda: bool(ground.markers))
    grid, cloud, markers = ground.grids[0], ground.clouds[0], ground.markers[0].markers
    for got in (grid.header, cloud.header, markers[1].header):
        assert (got.stamp.sec, got.frame_id) == (7, "base_footprint")

    types = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("kind", "u1")]
    points = np.frombuffer(cloud.data, types)
    assert len(points) == cloud.width > 50 and not points["z"].any()
    view = ROAD.view(INDEX)
    for kind, side in ((0, -ROAD_HALF), (1, ROAD_HALF)):
        edge = points[points["kind"] == kind]
        ahead = edge["x"].astype(float)
        right = view.points(view.s + ahead, np.full(len(edge), float(side)))[:, 0]
        assert len(edge) > 2 and np.abs(edge["y"] + right).max() < 0.5

    cells = np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    assert cells.shape == (200, 200) and grid.info.resolution == pytest.approx(0.1)
    beside = int((0.05 - grid.info.origin.position.y) / grid.info.resolution)
    assert cells[beside, int(5.0 / grid.info.resolution)] == 0
    assert set(np.unique(cells)) == {-1, 0, 100}

    assert markers[0].action == Marker.DELETEALL
    lines = [marker for marker in markers[1:] if marker.type == Marker.LINE_STRIP]
    assert sum(len(line.points) for line in lines) == cloud.width
    assert {line.ns for line in lines} == {"left_edge", "right_edge", "line"}


def test_a_stated_camera_needs_neither_camera_info_nor_tf(bench):
    ground = Ground(bench(bundle=BUNDLE, camera_height=1.35, field_of_view=61.93))
    ground.send()
    ground.at.until(lambda: bool(ground.clouds))
    assert ground.clouds[0].width > 50


def test_what_is_missing_is_said_one_after_the_other(bench, monkeypatch):
    monkeypatch.setattr(refusals, "ALL_REFUSED_SECONDS", 0.0)
    ground = Ground(bench(bundle=BUNDLE))
    header = Header(frame_id=OPTICAL)
    ground.frames.publish(mounting(header, "other_camera"))
    ground.at.until(lambda: ground.says(f"not say where {OPTICAL} is in base_footprint"))
    ground.frames.publish(mounting(header, OPTICAL))
    ground.at.until(lambda: ground.says("no camera_info has come on /camera_info"))
    assert any(s.level == DiagnosticStatus.ERROR for m in ground.diagnostics for s in m.status)
    info = camera_info(ROAD.camera, header)
    info.width = 640
    ground.infos.publish(info)
    ground.at.until(lambda: ground.says("is of pictures of 640 x 360, the mask is 480 x 360"))
    assert not ground.grids
    ground.infos.publish(camera_info(ROAD.camera, header))
    ground.at.until(lambda: ground.send() and bool(ground.grids))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"drivable_classes": "rode"}, "the class 'rode' is not in the bundle; did you mean road?"),
        ({"reach": 200.0, "width": 200.0, "resolution": 0.02}, "10000 x 10000 cells"),
        ({"line_classes": "paint"}, f"the classes are {', '.join(CLASSES[Task.SEGMENTATION])}"),
    ],
)
def test_wrong_parameters_are_named_at_configure(wrong, says, bench, bundle):
    names = {"drivable_classes": "road", "line_classes": "", "standing_classes": ""}
    at = bench(bundle=str(bundle.path), **{**names, **wrong})
    assert not at.start(GroundProjector).started
    at.until(lambda: at.said(says))
