"""A perception node of your own that takes the adapter's patch sets.

    python examples/own_perception_node.py resource/sim_road --ros-args -r __ns:=/car1

It listens to `image_raw` and `patch_sets/lanes`, and publishes `own/mask`. The package's own nodes
do more: they build a patched model beside the running one, check signatures, and watch a new model.
"""

import sys
from pathlib import Path

import numpy as np
import rclpy
from patchline_ros.msg import PatchSet
from rclpy.node import Node
from sensor_msgs.msg import Image

from patchline_ros.bundle import Bundle
from patchline_ros.messages.pictures import image_to_rgb
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import mask_to_image
from patchline_ros.patching.patch_set import PatchSetError
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Task


class OwnPerception(Node):
    """Runs the bundle's segmenter, with the newest patch set that fits."""

    def __init__(self, bundle: Path) -> None:
        super().__init__("own_perception")
        self._runner = ModelRunner(Bundle.load(bundle), Task.SEGMENTATION)
        self._masks = self.create_publisher(Image, "own/mask", qos.RESULTS)
        self.create_subscription(Image, "image_raw", self._on_picture, qos.images())
        # Latched: a node that starts later hears the last patch set, too.
        self.create_subscription(PatchSet, "patch_sets/lanes", self._on_patch_set, qos.LATCHED)

    def _on_picture(self, message: Image) -> None:
        mask = self._runner.infer(image_to_rgb(message)).prediction
        # A classifier would say a class here, and a detector boxes.
        assert isinstance(mask, np.ndarray)
        self._masks.publish(mask_to_image(mask, message.header))

    def _on_patch_set(self, message: PatchSet) -> None:
        if not message.data:
            self._runner.return_to_source()
            self.get_logger().info("the drift has passed: the source model runs")
            return
        try:
            self._runner.activate(self._runner.build(bytes(message.data), message.sha256))
        except PatchSetError as error:
            self.get_logger().warning(f"patch set {message.version} refused: {error}")
        else:
            self.get_logger().info(f"patch set {message.version} runs")


def main() -> None:
    """Spins until Ctrl-C."""
    if len(sys.argv) < 2:
        sys.exit("name the folder of a bundle")
    rclpy.init()
    node = OwnPerception(Path(sys.argv[1]))
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
