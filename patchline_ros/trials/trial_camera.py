"""The camera of a trial, a process of its own: fixed pictures, again and again, at a fixed rate.

Usage: python -m patchline_ros.trials.trial_camera SECONDS RATE
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Final, NoReturn

import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.graph.description import ROAD_IMAGE_TOPIC, SIGN_IMAGE_TOPIC
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, rgb_to_image
from patchline_ros.tasks import Task
from patchline_ros.trials.trial_pictures import render_fixed

SIZE: Final = (480, 640)
PLACES: Final = 1000
"""The stamp of a picture in nanoseconds, modulo this, is its place among the fixed ones."""
_LISTENERS: Final = {ROAD_IMAGE_TOPIC: 2, SIGN_IMAGE_TOPIC: 1}
_WAIT_SECONDS: Final = 60.0


def show(seconds: float, rate_hz: float) -> int:
    """Publishes road and sign pictures once the graph listens; returns how many of each.

    Raises:
        TimeoutError: nobody listens.
    """
    # The sign camera is as large: what is measured is 640x480 on every topic.
    images = render_fixed(SIZE)[Task.SEGMENTATION]
    node = rclpy.create_node("camera")
    publishers = {topic: node.create_publisher(Image, topic, qos.images()) for topic in _LISTENERS}
    pictures = {topic: [rgb_to_image(image, Header()) for image in images] for topic in _LISTENERS}
    deadline = time.monotonic() + _WAIT_SECONDS
    while any(node.count_subscribers(topic) < count for topic, count in _LISTENERS.items()):
        if time.monotonic() > deadline:
            raise TimeoutError("the graph does not listen to the camera")
        time.sleep(0.1)
    time.sleep(0.5)
    count = round(seconds * rate_hz)
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number / rate_hz - time.monotonic()))
        place = number % len(images)
        now = time.time_ns()
        stamp = ns_to_stamp(now - now % PLACES + place)
        for topic, publisher in publishers.items():
            msg = pictures[topic][place]
            msg.header = Header(stamp=stamp, frame_id="camera_link")
            publisher.publish(msg)
    node.destroy_node()
    return count


def main() -> NoReturn:
    """Prints how many pictures went out; SIGINT ends it quietly."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        print(f"sent {show(float(sys.argv[1]), float(sys.argv[2]))}", flush=True)
    except TimeoutError as error:
        sys.exit(str(error))
    finally:
        rclpy.try_shutdown()
    sys.exit(0)


if __name__ == "__main__":
    main()
