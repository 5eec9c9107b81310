"""The simulated road as a camera: clear weather, then a condition of one's choice, endless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from patchline_ros.graph.description import ROAD_IMAGE_TOPIC, camera_info_topic
from patchline_ros.nodes import qos
from patchline_ros.nodes.camera_messages import camera_info, mounting
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.paced_camera import OPTICAL_FRAME, PacedCamera
from patchline_ros.nodes.parameters import SIM_CAMERA
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.sim.defaults import PICTURE_SIZE, PICTURE_STEP, SEVERITIES
from patchline_ros.tasks import Frame


@dataclass(frozen=True)
class _Rendered:
    frame: Frame
    condition: Condition


class SimCamera(PacedCamera[_Rendered]):
    """An endless drive; `ros2 param set` changes the weather while it goes on."""

    def __init__(self) -> None:
        super().__init__(SIM_CAMERA)
        self._simulator = RoadSimulator(self.get_parameter("seed").value, PICTURE_SIZE)
        self._showing = Condition.CLEAR
        topic = camera_info_topic(self.resolve_topic_name(ROAD_IMAGE_TOPIC))
        self._camera_info = self.create_publisher(CameraInfo, topic, qos.images())
        self._mounting = self.create_publisher(TFMessage, "/tf_static", qos.LATCHED)

    def start(self) -> bool:
        """Says where the camera is mounted, too."""
        header, _ = self.stamp()
        self._mounting.publish(mounting(header, OPTICAL_FRAME))
        return super().start()

    def frames(self) -> Iterator[_Rendered]:
        """Every picture is a new piece of the road."""
        rate_hz = self.get_parameter("rate_hz").value
        clear = round(self.get_parameter("change_after").value * rate_hz)
        number = 0
        while True:
            condition = Condition(self.get_parameter("condition").value)
            if number < clear:
                condition = Condition.CLEAR
            severity = self.get_parameter("severity").value or SEVERITIES.get(condition, 1.0)
            yield _Rendered(
                self._simulator.frame(number * PICTURE_STEP, condition, severity), condition
            )
            number += 1

    def show(self, item: _Rendered) -> None:
        """Publishes it; a change of the weather is logged."""
        if item.condition is not self._showing:
            self.get_logger().info(f"the weather changes from {self._showing} to {item.condition}")
            self._showing = item.condition
        frame = item.frame
        labelled = frame.samples if self.get_parameter("labels").value else ()
        header, _ = self.stamp()
        self._camera_info.publish(camera_info(self._simulator.camera, header))
        self.publish(frame, labelled, dict.fromkeys(frame.samples, frame.name), header)


def main() -> int:
    """Runs the node; returns the exit code."""
    return run(SimCamera)


if __name__ == "__main__":
    raise SystemExit(main())
