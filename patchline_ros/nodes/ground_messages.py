"""What is found on the ground as ROS messages, and the messages that say where a camera is."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, TransformStamped
from nav_msgs.msg import MapMetaData, OccupancyGrid
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from patchline_ros.geometry.boundaries import Boundary, Kind
from patchline_ros.geometry.mounted_camera import Pose as FramePose
from patchline_ros.geometry.occupancy import GridShape
from patchline_ros.nodes.conversions import bytes_field

_POINT: Final = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("kind", "u1")])
_FIELDS: Final = [
    *(
        PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, n in enumerate("xyz")
    ),
    PointField(name="kind", offset=12, datatype=PointField.UINT8, count=1),
]
_COLOURS: Final = {
    Kind.LEFT_EDGE: ColorRGBA(r=0.9, g=0.3, b=0.2, a=1.0),
    Kind.RIGHT_EDGE: ColorRGBA(r=0.2, g=0.7, b=0.3, a=1.0),
    Kind.LINE: ColorRGBA(r=0.95, g=0.9, b=0.5, a=1.0),
}
_LINE_WIDTH: Final = 0.08
"""Metres."""


def pose_of_transform(msg: TransformStamped) -> FramePose:
    """Where the child frame is in its parent.

    Raises:
        ValueError: the numbers are no rotation and place.
    """
    turn, place = msg.transform.rotation, msg.transform.translation
    numbers = np.array([turn.x, turn.y, turn.z, turn.w, place.x, place.y, place.z])
    if not np.isfinite(numbers).all() or not numbers[:4].any():
        raise ValueError(
            f"/tf_static has no rotation and place for {msg.child_frame_id}: {numbers.tolist()}"
        )
    return FramePose(Rotation.from_quat(numbers[:4]).as_matrix(), numbers[4:])


def grid_to_msg(grid: NDArray[np.int8], shape: GridShape, header: Header) -> OccupancyGrid:
    """A grid with its origin at its right end beside the car."""
    rows, columns = shape.cells
    origin = Pose()
    origin.position.y = -rows * shape.resolution / 2
    origin.orientation.w = 1.0
    info = MapMetaData(
        map_load_time=Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec),
        resolution=shape.resolution,
        width=columns,
        height=rows,
        origin=origin,
    )
    return OccupancyGrid(header=header, info=info, data=array("b", grid.tobytes()))


def boundaries_to_cloud(found: Sequence[Boundary], header: Header) -> PointCloud2:
    """All points of the boundaries, with their Kind."""
    points = np.zeros(sum(len(boundary.points) for boundary in found), dtype=_POINT)
    if len(points):
        points["x"], points["y"] = np.concatenate([boundary.points for boundary in found]).T
        kinds = [np.full(len(boundary.points), boundary.kind) for boundary in found]
        points["kind"] = np.concatenate(kinds)
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=_FIELDS,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(points),
        data=bytes_field(points.tobytes()),
        is_dense=True,
    )


def boundaries_to_markers(found: Sequence[Boundary], header: Header) -> MarkerArray:
    """A line for each boundary, in the place of those before."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, boundary in enumerate(found):
        marker = Marker(header=header, ns=boundary.kind.name.lower(), id=number)
        marker.type = Marker.LINE_STRIP
        marker.pose.orientation.w = 1.0
        marker.scale.x = _LINE_WIDTH
        marker.color = _COLOURS[boundary.kind]
        marker.points = [Point(x=x, y=y) for x, y in boundary.points.tolist()]
        markers.append(marker)
    return MarkerArray(markers=markers)
