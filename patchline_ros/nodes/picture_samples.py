"""Some of the pictures that a model sees, as it sees them, for whoever adapts it."""

from __future__ import annotations

from typing import Final

from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.nodes.conversions import rgb_to_image, stamp_to_ns
from patchline_ros.tasks import Image as Picture
from patchline_ros.vision.inputs import resize_image

APART_NS: Final = 200_000_000
"""Nanoseconds between two pictures: neighbours of a camera's stream say the same."""


class PictureSamples:
    """Publishes one picture of each fifth of a second while somebody listens.

    By stamps, so that a replay shows the same ones at whatever rate.
    """

    def __init__(self, publisher: Publisher[Image], size: tuple[int, int]) -> None:
        """Pictures go out at `size` (height, width)."""
        self._publisher, self._size = publisher, size
        self._last = -1

    def saw(self, picture: Picture, header: Header) -> None:
        """The model has looked at a picture."""
        place = stamp_to_ns(header.stamp) // APART_NS
        if place == self._last or not self._publisher.get_subscription_count():
            return
        self._last = place
        self._publisher.publish(rgb_to_image(resize_image(picture, self._size), header))
