"""The node that gives each pixel of the road picture a class."""

from __future__ import annotations

from typing import NoReturn, cast

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.nodes.conversions import mask_to_image
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.perception import PerceptionNode
from patchline_ros.runtime.model_runner import Perception
from patchline_ros.tasks import ClassMap, Task


class LaneSegmenter(PerceptionNode):
    """Road pictures to a mono8 mask of class ids on `~/mask`, of the picture's size."""

    def __init__(self) -> None:
        super().__init__(Task.SEGMENTATION, Image, "~/mask")

    def message(self, perception: Perception, header: Header) -> Image:
        """The class map."""
        return mask_to_image(cast(ClassMap, perception.prediction), header)


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(LaneSegmenter)


if __name__ == "__main__":
    main()
