"""A labeller of your own: it labels pictures for the adapter, by whatever you know better.

    python examples/own_labeller.py --ros-args -r image_raw:=/camera/color/image_raw

The rule here is a poor one on purpose, and easy to read: what is bright in the upper half is sky,
what is grey in the lower half is road, and the rest is not labelled. Put your own into `label`.
"""

import numpy as np
import rclpy
from patchline_ros.msg import LabelledFrame
from rclpy.node import Node
from sensor_msgs.msg import Image

from patchline_ros.messages.pictures import image_to_rgb
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import labelled_frame_to_msg, stamp_to_ns
from patchline_ros.sim import LANE_CLASSES
from patchline_ros.tasks import IGNORE, ClassMap, Sample, Task
from patchline_ros.tasks import Image as Picture

SECONDS_BETWEEN = 1.0
"""Neighbouring pictures look alike, and the adapter keeps only so many."""


def label(picture: Picture) -> ClassMap:
    """A class id for each pixel of a uint8 RGB picture (H, W, 3); 255 where nobody knows."""
    ids = np.full(picture.shape[:2], IGNORE, np.uint8)
    middle = len(picture) // 2
    bright = picture.min(axis=2) > 150
    grey = np.ptp(picture.astype(int), axis=2) < 20
    ids[:middle][bright[:middle]] = LANE_CLASSES.index("sky")
    ids[middle:][grey[middle:]] = LANE_CLASSES.index("road")
    return ids


class OwnLabeller(Node):
    """Labels a picture a second, by the pictures' own stamps."""

    def __init__(self) -> None:
        super().__init__("own_labeller")
        self._labelled = self.create_publisher(
            LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES
        )
        self._last = 0
        self.create_subscription(Image, "image_raw", self._on_picture, qos.images())

    def _on_picture(self, message: Image) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        if 0 <= stamp - self._last < SECONDS_BETWEEN * 1e9:
            return
        self._last = stamp
        picture = image_to_rgb(message)
        sample = Sample(picture, label(picture))
        # The id is unique in its source: a frame that comes twice is kept once.
        self._labelled.publish(
            labelled_frame_to_msg(f"own-{stamp}", Task.SEGMENTATION, sample, message.header)
        )


def main() -> None:
    """Spins until Ctrl-C."""
    rclpy.init()
    node = OwnLabeller()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
