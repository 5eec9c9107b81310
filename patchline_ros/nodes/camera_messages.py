"""What a camera says of itself besides its pictures: how it projects, and where it is mounted."""

from __future__ import annotations

from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from patchline_ros.sim.camera import EYE_HEIGHT, Camera

GROUND_FRAME = "base_footprint"
"""Below the car, on the ground: x points ahead, y left and z up (REP 103, REP 120)."""

CAMERA_FRAME = "camera_link"
"""Of the camera's body, turned as the car is."""

_OPTICAL_IN_BODY = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
"""From x right, y down, z ahead to x ahead, y left, z up."""


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """A pinhole without distortion, of pictures that are as they came from the sensor.

    The middle of the first pixel is at 0 in ROS and OpenCV, and at one half in `sim`.
    """
    focal, u, v = camera.focal, camera.centre_u - 0.5, camera.centre_v - 0.5
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, u, 0.0, focal, v, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, u, 0.0, 0.0, focal, v, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def mounting(header: Header, optical_frame: str) -> TFMessage:
    """Where the simulated camera is: EYE_HEIGHT metres over the ground, looking straight ahead."""
    above = _transform(header, GROUND_FRAME, CAMERA_FRAME, EYE_HEIGHT, Quaternion(w=1.0))
    optical = _transform(header, CAMERA_FRAME, optical_frame, 0.0, _OPTICAL_IN_BODY)
    return TFMessage(transforms=[above, optical])


def _transform(
    header: Header, parent: str, child: str, up: float, rotation: Quaternion
) -> TransformStamped:
    return TransformStamped(
        header=Header(stamp=header.stamp, frame_id=parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(z=up), rotation=rotation),
    )
