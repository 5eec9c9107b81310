"""The node that draws the car's status as a picture, for RViz, which shows no text by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NoReturn

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.graph.description import NODE_OF_TASK, ROAD_NAME_OF_TASK
from patchline_ros.msg import AdaptationStatus, DriftStatus, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import rgb_to_image
from patchline_ros.nodes.node_main import RunnableNode, run
from patchline_ros.tasks import Task
from patchline_ros.watch.status_picture import CarStatus, Patched, draw_status, status_lines

STATUS_IMAGE_TOPIC: Final = "status/image"
_DRAW_SECONDS: Final = 0.5
_STATES: Final = {
    AdaptationStatus.IDLE: "waiting for drift",
    AdaptationStatus.COLLECTING: "collecting labelled frames",
    AdaptationStatus.TRAINING: "training",
    AdaptationStatus.VERIFYING: "verifying patch sets of a known drift",
    AdaptationStatus.ANSWERING: "answering without labels",
    AdaptationStatus.FINISHED: "finished",
    AdaptationStatus.FAILED: "failed",
}


class StatusPictureNode(RunnableNode):
    """The statuses of the graph to a picture, twice a second while somebody subscribes."""

    def __init__(self) -> None:
        super().__init__("status_picture")
        self._status = CarStatus()
        self._publisher = self.create_publisher(Image, STATUS_IMAGE_TOPIC, qos.RESULTS)
        self.create_subscription(
            DriftStatus, "drift_status", self.guarded(self._on_drift), qos.RESULTS
        )
        self.create_subscription(
            AdaptationStatus, "adaptation_status", self.guarded(self._on_adaptation), qos.LATCHED
        )
        for task, node in NODE_OF_TASK.items():
            self.create_subscription(
                PatchStatus, f"{node}/patch_status", self.guarded(self._on_patch(task)), qos.LATCHED
            )
        self.steady_timer(_DRAW_SECONDS, self._draw)

    def _on_drift(self, msg: DriftStatus) -> None:
        self._status = replace(
            self._status, mmd2=msg.mmd2, threshold=msg.threshold, drifting=msg.drifting
        )

    def _on_adaptation(self, msg: AdaptationStatus) -> None:
        words = _STATES.get(msg.state, f"state {msg.state}")
        if msg.task:
            words = f"{words} {ROAD_NAME_OF_TASK[Task(msg.task)]}"
        self._status = replace(self._status, adapting=words, progress=msg.progress)

    def _on_patch(self, task: Task) -> Callable[[PatchStatus], None]:
        def take(msg: PatchStatus) -> None:
            model = Patched(msg.version, refused=msg.state == PatchStatus.REFUSED)
            self._status = replace(self._status, models={**self._status.models, task: model})

        return take

    def _draw(self) -> None:
        if not self._publisher.get_subscription_count():
            return
        header = Header(stamp=self.get_clock().now().to_msg())
        self._publisher.publish(rgb_to_image(draw_status(status_lines(self._status)), header))


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(StatusPictureNode)


if __name__ == "__main__":
    main()
