"""What cameras share that make their pictures themselves: read ahead, publish at a fixed rate."""

from __future__ import annotations

import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Generic, TypeVar

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.graph.description import IMAGE_TOPIC_OF_TASK, ROAD_IMAGE_TOPIC, SIGN_IMAGE_TOPIC
from patchline_ros.msg import LabelledFrame
from patchline_ros.nodes import qos, signing_keys
from patchline_ros.nodes.conversions import labelled_frame_to_msg, rgb_to_image
from patchline_ros.nodes.declared_parameters import declare
from patchline_ros.nodes.node_main import RunnableNode
from patchline_ros.nodes.parameter import Parameter, ParameterError
from patchline_ros.nodes.signed_labels import sign_labelled_frame
from patchline_ros.tasks import Frame, Task

OPTICAL_FRAME = "camera_color_optical_frame"
"""Of pictures: x points right, y down and z ahead (REP 103). Drivers of cameras call it so."""
LABEL_TOPIC = "labelled_frames"
LISTENERS = {
    ROAD_IMAGE_TOPIC: sum(topic == ROAD_IMAGE_TOPIC for topic in IMAGE_TOPIC_OF_TASK.values()),
    SIGN_IMAGE_TOPIC: sum(topic == SIGN_IMAGE_TOPIC for topic in IMAGE_TOPIC_OF_TASK.values()),
    LABEL_TOPIC: 1,
}
"""Subscriptions that must be there before the first frame is published."""

_AHEAD = 8
_POLL_SECONDS = 0.1

Item = TypeVar("Item")


class PacedCamera(RunnableNode, Generic[Item]):
    """A camera whose frames are made in a thread and shown by a timer, once the nodes listen."""

    def __init__(self, table: tuple[Parameter, ...]) -> None:
        """Declares the parameters of the table, those of CAMERA among them."""
        super().__init__("camera")
        declare(self, table)
        self._publishers_by_topic = {
            ROAD_IMAGE_TOPIC: self.create_publisher(Image, ROAD_IMAGE_TOPIC, qos.images()),
            SIGN_IMAGE_TOPIC: self.create_publisher(Image, SIGN_IMAGE_TOPIC, qos.images()),
        }
        self._labels = self.create_publisher(LabelledFrame, LABEL_TOPIC, qos.LABELLED_FRAMES)
        self._ready: queue.Queue[Item] = queue.Queue(maxsize=_AHEAD)
        self._stopping = threading.Event()
        self._reader = threading.Thread(target=self.guarded(self._read_ahead), name="reader")

    @abstractmethod
    def frames(self) -> Iterator[Item]:
        """Renders or reads the next few frames (in a thread of its own); it does not end."""

    @abstractmethod
    def show(self, item: Item) -> None:
        """Publishes a frame, with the help of `stamp` and `publish`."""

    def start(self) -> bool:
        """Starts reading; playing starts when every listener is there. False: no usable key."""
        try:
            key = self.get_parameter("signing_key").value
            self._signer = signing_keys.signer({"signing_key": key})
        except ParameterError as error:
            self.get_logger().fatal(str(error))
            return False
        self._reader.start()
        self._deadline = time.monotonic() + self.get_parameter("wait_seconds").value
        self._waiting = self.steady_timer(_POLL_SECONDS, self._play_when_heard)
        return True

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        self._stopping.set()
        if self._reader.is_alive():
            self._reader.join()

    def stamp(self) -> tuple[Header, int]:
        """The header of a frame that is shown now, and its stamp in nanoseconds."""
        now = self.get_clock().now()
        return Header(stamp=now.to_msg(), frame_id=OPTICAL_FRAME), now.nanoseconds

    def publish(
        self, frame: Frame, labelled: Collection[Task], names: Mapping[Task, str], header: Header
    ) -> None:
        """Sends the pictures, and the labels of the tasks in `labelled` under their names."""
        pictures = {ROAD_IMAGE_TOPIC: frame.image}
        if Task.CLASSIFICATION in frame.samples:
            pictures[SIGN_IMAGE_TOPIC] = frame.samples[Task.CLASSIFICATION].image
        for topic, picture in pictures.items():
            self._publishers_by_topic[topic].publish(rgb_to_image(picture, header))
        for task in sorted(labelled):
            sample = frame.samples[task]
            msg = labelled_frame_to_msg(names[task], task, sample, header)
            sign_labelled_frame(msg, self._signer, self._labels.topic_name)
            self._labels.publish(msg)

    def _play_when_heard(self) -> None:
        missing = self._missing_listeners()
        if not missing:
            self.destroy_timer(self._waiting)
            self.steady_timer(1.0 / self.get_parameter("rate_hz").value, self._show_next)
        elif time.monotonic() > self._deadline:
            self.fail(TimeoutError(f"nothing was played, listeners are missing: {missing}"))

    def _missing_listeners(self) -> str:
        # ROS counts what it is asked for and does not look at remappings.
        wanted = {self.resolve_topic_name(topic): least for topic, least in LISTENERS.items()}
        counts = {topic: self.count_subscribers(topic) for topic in wanted}
        return ", ".join(
            f"{topic} has {counts[topic]} of {least}"
            for topic, least in wanted.items()
            if counts[topic] < least
        )

    def _read_ahead(self) -> None:
        for item in self.frames():
            if not self._hand_over(item):
                return

    def _hand_over(self, item: Item) -> bool:
        while not self._stopping.is_set():
            try:
                self._ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _show_next(self) -> None:
        try:
            item = self._ready.get_nowait()
        except queue.Empty:
            return  # the source is slower than the rate: the frame comes with the next tick
        self.show(item)
