"""The node that finds objects in the road picture."""

from __future__ import annotations

from typing import NoReturn, cast

from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from patchline_ros.nodes.conversions import boxes_to_msg
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.perception import PerceptionNode
from patchline_ros.runtime.model_runner import Perception
from patchline_ros.tasks import Boxes, Task


class ObjectDetector(PerceptionNode):
    """Road pictures to vision_msgs/Detection2DArray on `~/detections`."""

    def __init__(self) -> None:
        super().__init__(Task.DETECTION, Detection2DArray, "~/detections")

    def message(self, perception: Perception, header: Header) -> Detection2DArray:
        """Boxes in pixels of the picture."""
        return boxes_to_msg(cast(Boxes, perception.prediction), header)


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(ObjectDetector)


if __name__ == "__main__":
    main()
