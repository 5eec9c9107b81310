"""The demo's camera: plays a drive at a fixed rate, with labels for the adapter."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.timer import Timer
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.demo.drive import LABELLED_LAP, Shot, Shots, open_drive
from patchline_ros.demo.records import CAMERA_LOG, CameraLine, LineWriter
from patchline_ros.graph import IMAGE_TOPIC_OF_TASK, ROAD_IMAGE_TOPIC, SIGN_IMAGE_TOPIC
from patchline_ros.msg import LabelledFrame
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import labelled_frame_to_msg, rgb_to_image
from patchline_ros.nodes.parameters import Parameter, declare
from patchline_ros.nodes.run import RunnableNode, run
from patchline_ros.tasks import Task

CAMERA = (
    Parameter("drive", "", "file that says what is played (patchline_ros.demo.drive)"),
    Parameter("out", "", "existing folder for camera.jsonl"),
    Parameter("rate_hz", 6.0, "frames a second", 0.1, 120.0),
    Parameter("wait_seconds", 60.0, "how long to wait for the nodes to listen", 1.0, 600.0),
)
FRAME_ID = "camera_link"
LABEL_TOPIC = "labelled_frames"
LISTENERS = {
    ROAD_IMAGE_TOPIC: sum(topic == ROAD_IMAGE_TOPIC for topic in IMAGE_TOPIC_OF_TASK.values()),
    SIGN_IMAGE_TOPIC: sum(topic == SIGN_IMAGE_TOPIC for topic in IMAGE_TOPIC_OF_TASK.values()),
    LABEL_TOPIC: 1,
}
"""Subscriptions that must be there before the first frame is published."""

_AHEAD = 8
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Played:
    shot: Shot
    lap: int


class CameraNode(RunnableNode):
    """Publishes the drive's pictures, and the labels of those that are for the adapter."""

    def __init__(self) -> None:
        super().__init__("camera")
        declare(self, CAMERA)
        self._shots: Shots = open_drive(Path(self.get_parameter("drive").value))
        self._log = LineWriter(Path(self.get_parameter("out").value) / CAMERA_LOG)
        self._publishers_by_topic = {
            ROAD_IMAGE_TOPIC: self.create_publisher(Image, ROAD_IMAGE_TOPIC, qos.images()),
            SIGN_IMAGE_TOPIC: self.create_publisher(Image, SIGN_IMAGE_TOPIC, qos.images()),
        }
        self._labels = self.create_publisher(LabelledFrame, LABEL_TOPIC, qos.LABELLED_FRAMES)
        self._ready: queue.Queue[_Played] = queue.Queue(maxsize=_AHEAD)
        self._stopping = threading.Event()
        self._reader = threading.Thread(target=self.guarded(self._read_ahead), name="reader")

    def start(self) -> bool:
        """Starts reading; playing starts when every listener is there."""
        self._reader.start()
        self._deadline = time.monotonic() + self.get_parameter("wait_seconds").value
        self._waiting = self._timer(_POLL_SECONDS, self._play_when_heard)
        return True

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        self._stopping.set()
        if self._reader.is_alive():
            self._reader.join()
        self._log.close()

    def _timer(self, seconds: float, callback: Callable[[], None]) -> Timer:
        # A wall clock that is set must not make the camera stutter.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(seconds, self.guarded(callback), clock=steady)

    def _play_when_heard(self) -> None:
        missing = self._missing_listeners()
        if not missing:
            self.destroy_timer(self._waiting)
            self._timer(1.0 / self.get_parameter("rate_hz").value, self._publish_next)
        elif time.monotonic() > self._deadline:
            self.fail(TimeoutError(f"nothing was played, listeners are missing: {missing}"))

    def _missing_listeners(self) -> str:
        counts = {topic: self.count_subscribers(topic) for topic in LISTENERS}
        return ", ".join(
            f"{self.resolve_topic_name(topic)} has {counts[topic]} of {wanted}"
            for topic, wanted in LISTENERS.items()
            if counts[topic] < wanted
        )

    def _read_ahead(self) -> None:
        """Renders or reads the next few frames, lap after lap (in a thread of its own)."""
        lap = 0
        while True:
            for shot in self._shots.play(lap):
                if not self._hand_over(_Played(shot, lap)):
                    return
            lap += 1

    def _hand_over(self, played: _Played) -> bool:
        while not self._stopping.is_set():
            try:
                self._ready.put(played, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _publish_next(self) -> None:
        """One frame; it is logged first, so that no result is ever known before its picture."""
        try:
            played = self._ready.get_nowait()
        except queue.Empty:
            return  # the source is slower than the rate: the frame comes with the next tick
        shot = played.shot
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME_ID)
        labelled = shot.labelled if played.lap == LABELLED_LAP else frozenset()
        self._log.write(
            CameraLine(
                index=shot.index,
                stamp_ns=now.nanoseconds,
                names=shot.names,
                lap=played.lap,
                condition=shot.condition,
                split=shot.split,
                labelled=sorted(labelled),
            )
        )
        pictures = {ROAD_IMAGE_TOPIC: shot.frame.image}
        if Task.SIGNS in shot.frame.samples:
            pictures[SIGN_IMAGE_TOPIC] = shot.frame.samples[Task.SIGNS].image
        for topic, picture in pictures.items():
            self._publishers_by_topic[topic].publish(rgb_to_image(picture, header))
        for task in sorted(labelled):
            sample = shot.frame.samples[task]
            self._labels.publish(labelled_frame_to_msg(shot.names[task], task, sample, header))


def main() -> int:
    """Runs the node; returns the exit code."""
    return run(CameraNode)


if __name__ == "__main__":
    raise SystemExit(main())
