"""The node that finds where the detected objects are in space, with a depth camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3D, Detection3DArray
from visualization_msgs.msg import MarkerArray

from patchline_ros.geometry.camera_model import CameraModel, CameraModelError
from patchline_ros.geometry.objects_in_space import objects_in_space
from patchline_ros.graph.description import (
    ANSWER_OF_TASK,
    DEPTH_TOPIC,
    NODE_OF_TASK,
    camera_info_topic,
)
from patchline_ros.labelling.stamp_matcher import Match, StampMatcher
from patchline_ros.messages.labels import ConversionError, msg_to_boxes
from patchline_ros.messages.pictures import image_to_depth
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.conversions import NANOSECONDS, stamp_to_ns
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.space_messages import detection_in_space, detections_to_markers
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.tasks import Task

_LOG_AGAIN_SECONDS: Final = 5.0


class ObjectLocator(ManagedNode):
    """Detections and depth to vision_msgs/Detection3DArray, and to markers for RViz."""

    def __init__(self) -> None:
        super().__init__("object_locator", parameters.OBJECT_LOCATOR)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Reads how detections and depth are matched."""
        self._slop_ns = values["slop_ms"] * NANOSECONDS // 1000
        self._held: int = values["queue_depth"]
        self._results = self.advertise(Detection3DArray, "~/detections", qos.RESULTS)
        self._markers = self.advertise(MarkerArray, "~/markers", qos.RESULTS)

    def activate(self) -> None:
        """Listens to the detector and to the depth camera."""
        self._matcher = StampMatcher[Image, Detection2DArray](self._held, self._slop_ns)
        self._refused = Refusals("pairs refused")
        self._located = self._without_depth = 0
        self._info: CameraInfo | None = None
        detections = self.subscribe(
            Detection2DArray,
            f"{NODE_OF_TASK[Task.DETECTION]}/{ANSWER_OF_TASK[Task.DETECTION]}",
            self._on_detections,
            qos.RESULTS,
            overridable=True,
        )
        depth = self.subscribe(
            Image, DEPTH_TOPIC, self._on_depth, qos.images(depth=self._held), overridable=True
        )
        topic = self.resolve_topic_name(DEPTH_TOPIC)
        self._info_topic = camera_info_topic(topic)
        self.subscribe(CameraInfo, self._info_topic, self._on_info, qos.images())
        self._watchdogs = [
            InputWatchdog(self, "depth", depth, "check the depth camera and its topic"),
            InputWatchdog(self, "detections", detections, "check that the object_detector runs"),
        ]

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Objects that were found in space, and why others were not."""
        troubles = [watchdog.trouble() for watchdog in self._watchdogs]
        lost = Trouble(f"the last detections found no depth: {self._matcher.lost}")
        troubles += [self._refused.trouble(), lost if self._matcher.lost else Trouble()]
        return next(filter(None, troubles), Trouble()), {
            "located": self._located,
            "without_depth": self._without_depth,
            "unmatched": self._matcher.unmatched,
            "refused": self._refused.count,
        }

    def _on_info(self, msg: CameraInfo) -> None:
        self._info = msg

    def _on_depth(self, msg: Image) -> None:
        self._watchdogs[0].heard()
        self._take(self._matcher.add_picture(stamp_to_ns(msg.header.stamp), msg))

    def _on_detections(self, msg: Detection2DArray) -> None:
        self._watchdogs[1].heard()
        self._take(self._matcher.add_label(stamp_to_ns(msg.header.stamp), msg))

    def _take(self, matches: list[Match[Image, Detection2DArray]]) -> None:
        for match in matches:
            try:
                found = self._locate(match.label, match.picture)
            except (ConversionError, CameraModelError) as error:
                self._refused.add(str(error))
                sentence = f"objects not found in space: {error}"
                self.get_logger().error(sentence, throttle_duration_sec=_LOG_AGAIN_SECONDS)
                continue
            self._refused.taken()
            header = Header(stamp=match.label.header.stamp, frame_id=match.picture.header.frame_id)
            self._results.publish(Detection3DArray(header=header, detections=found))
            if self._markers.get_subscription_count():
                self._markers.publish(detections_to_markers(found, header))

    def _locate(self, msg: Detection2DArray, picture: Image) -> list[Detection3D]:
        """Those of the detections that have depth.

        Raises:
            ConversionError: the depth or the detections are malformed.
            CameraModelError: how the camera projects is not known.
        """
        depth = image_to_depth(picture)
        if self._info is None:
            raise CameraModelError(f"no camera_info has come on {self._info_topic}")
        camera = CameraModel.of_message(self._info)
        if (camera.height, camera.width) != depth.shape:
            raise CameraModelError(
                f"camera_info is of pictures of {camera.width} x {camera.height}, the depth is "
                f"{depth.shape[1]} x {depth.shape[0]}"
            )
        located = objects_in_space(msg_to_boxes(msg), depth, camera)
        found = [
            detection_in_space(detection, box, picture.header.frame_id)
            for detection, box in zip(msg.detections, located, strict=True)
            if box is not None
        ]
        self._located += len(found)
        self._without_depth += len(located) - len(found)
        return found


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(ObjectLocator)


if __name__ == "__main__":
    main()
