"""Objects in space as ROS messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import Detection2D, Detection3D, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from patchline_ros.geometry.objects_in_space import SpaceBox
from patchline_ros.palette import PALETTE

_LEAST_EDGE: Final = 0.05
"""Metres of a marker's edge, so that it can be seen."""
_TEXT_HEIGHT: Final = 0.25
"""Metres of a letter."""


def detection_in_space(seen: Detection2D, box: SpaceBox, frame: str) -> Detection3D:
    """The same object, with its classes and id, in the camera's optical frame."""
    found = Detection3D(header=Header(stamp=seen.header.stamp, frame_id=frame), id=seen.id)
    x, y, z = box.centre.tolist()
    found.bbox.center.position.x = x
    found.bbox.center.position.y = y
    found.bbox.center.position.z = z
    found.bbox.center.orientation.w = 1.0
    found.bbox.size.x, found.bbox.size.y, found.bbox.size.z = box.size.tolist()
    for one in seen.results:
        hypothesis = ObjectHypothesisWithPose(hypothesis=one.hypothesis)
        hypothesis.pose.pose = found.bbox.center
        found.results.append(hypothesis)
    return found


def detections_to_markers(found: Sequence[Detection3D], header: Header) -> MarkerArray:
    """A box for each object in the colour of its class, with its id; those before go."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, detection in enumerate(found):
        class_id = detection.results[0].hypothesis.class_id
        marker = Marker(header=header, ns=f"class {class_id}", id=number, type=Marker.CUBE)
        marker.pose = detection.bbox.center
        marker.scale.x = max(detection.bbox.size.x, _LEAST_EDGE)
        marker.scale.y = max(detection.bbox.size.y, _LEAST_EDGE)
        marker.scale.z = max(detection.bbox.size.z, _LEAST_EDGE)
        red, green, blue = PALETTE[(int(class_id) + 3) % len(PALETTE)]
        marker.color = ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=0.5)
        markers.append(marker)
        if detection.id:
            markers.append(_id_marker(detection, header, number))
    return MarkerArray(markers=markers)


def _id_marker(detection: Detection3D, header: Header, number: int) -> Marker:
    """The id above the object: in an optical frame y goes down."""
    marker = Marker(header=header, ns="ids", id=number, type=Marker.TEXT_VIEW_FACING)
    centre, size = detection.bbox.center.position, detection.bbox.size
    marker.pose.position.x = centre.x
    marker.pose.position.y = centre.y - size.y / 2 - _TEXT_HEIGHT
    marker.pose.position.z = centre.z
    marker.scale.z = _TEXT_HEIGHT
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = detection.id
    return marker
