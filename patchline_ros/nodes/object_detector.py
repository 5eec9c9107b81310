"""The node that finds objects in the road picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn, cast

from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from patchline_ros.nodes import parameters
from patchline_ros.nodes.conversions import boxes_to_msg, stamp_to_ns
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.perception import PerceptionNode
from patchline_ros.runtime.model_runner import Perception
from patchline_ros.runtime.object_tracks import ObjectTracks
from patchline_ros.tasks import Boxes, Task
from patchline_ros.vision.box_selection import chosen


class ObjectDetector(PerceptionNode):
    """Road pictures to vision_msgs/Detection2DArray on `~/detections`, with ids of the objects."""

    def __init__(self) -> None:
        super().__init__(
            Task.DETECTION, Detection2DArray, "~/detections", parameters.OBJECT_DETECTOR
        )

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and warms the source model. Raises BundleError or ParameterError."""
        super().configure(values)
        # Not of the model: an object is the same after a swap.
        self._tracks = ObjectTracks()

    def shown(self, perception: Perception) -> Perception:
        """Without the boxes that the parameters leave out."""
        boxes = chosen(
            cast(Boxes, perception.prediction),
            self.get_parameter("min_score").value,
            self.get_parameter("nms_overlap").value,
        )
        return replace(perception, prediction=boxes)

    def message(self, perception: Perception, header: Header) -> Detection2DArray:
        """Boxes in pixels of the picture."""
        boxes = cast(Boxes, perception.prediction)
        least_score = self.get_parameter("track_score").value
        ids = self._tracks.ids(boxes, stamp_to_ns(header.stamp), least_score)
        return boxes_to_msg(boxes, header, ids)


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(ObjectDetector)


if __name__ == "__main__":
    main()
