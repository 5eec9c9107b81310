"""The simulated camera says how it projects and where it is, and both are true."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from patchline_ros.nodes import paced_camera, qos
from patchline_ros.nodes.sim_camera import SimCamera
from patchline_ros.sim import RoadSimulator
from patchline_ros.sim.camera import View
from patchline_ros.sim.defaults import PICTURE_SIZE


def test_points_on_the_ground_are_where_camera_info_and_tf_put_them(bench, monkeypatch):
    monkeypatch.setattr(paced_camera, "LISTENERS", {})
    at = bench(seed=5, condition="clear")
    infos = at.collect(CameraInfo, "camera_info", qos.images())
    pictures = at.collect(Image, "image_raw", qos.images())
    at.start(SimCamera)
    transforms = at.collect(TFMessage, "/tf_static", qos.LATCHED)
    at.until(lambda: bool(transforms) and len(infos) > 1 and len(pictures) > 1)
    stamps = [msg.header.stamp for msg in pictures]
    info = next(msg for msg in infos if msg.header.stamp in stamps)
    assert info.header.frame_id == pictures[0].header.frame_id == "camera_color_optical_frame"
    assert (info.height, info.width) == (pictures[0].height, pictures[0].width) == PICTURE_SIZE

    # Straight road from here on: metres ahead, right of the camera, and down from it.
    simulator = RoadSimulator(5, PICTURE_SIZE)
    view = View(simulator.camera, Straight(5), s=0.0, lateral=0.0)
    ahead, right = np.array([4.0, 9.0, 30.0]), np.array([-2.0, 0.5, 7.0])
    expected = view.project(ahead, right)

    car = np.stack([ahead, -right, np.zeros(3)], axis=1)
    seen = (car - translation(transforms[0])) @ rotation(transforms[0])
    pixels = seen @ np.array(info.k).reshape(3, 3).T
    assert pixels[:, :2] / pixels[:, 2:] == pytest.approx(expected - 0.5)


class Straight:
    """A level road without a bend."""

    def __init__(self, seed):
        self.course = lambda s: (0.0, 0.0, 0.0, 0.0)

    def bend(self, s):
        return np.zeros_like(s)

    rise = bend


def translation(msg: TFMessage) -> np.ndarray:
    body, optical = (one.transform.translation for one in msg.transforms)
    assert (optical.x, optical.y, optical.z) == (0.0, 0.0, 0.0)
    return np.array([body.x, body.y, body.z])


def rotation(msg: TFMessage) -> np.ndarray:
    """From the optical frame to the car's."""
    frames = [(one.header.frame_id, one.child_frame_id) for one in msg.transforms]
    assert frames == [
        ("base_footprint", "camera_link"),
        ("camera_link", "camera_color_optical_frame"),
    ]
    turns = [one.transform.rotation for one in msg.transforms]
    body, optical = (Rotation.from_quat([q.x, q.y, q.z, q.w]) for q in turns)
    return (body * optical).as_matrix()
