"""Run as a process of its own: publishes 640x480 bgr8 pictures like a camera and hears the answers.

The pictures that count are stamped 1, 2, ... nanoseconds. Before them go some with stamp 0, until
the answers to them arrive: discovery takes a moment that is no matter of transport. Nor is it how
fast a busy machine computes: a camera's rate is kept while at most IN_FLIGHT pictures wait for
their answers, which the node's queue holds. One that had no answer for SECONDS_TO_ANSWER is lost.
It prints the stamp of each that is answered.

Usage: image_publisher.py TOPIC ANSWERS COUNT RATE
"""

import sys
import time
from array import array

import numpy as np
import rclpy
from patchline_ros.msg import FrameFeatures
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, stamp_to_ns

IN_FLIGHT = 5
SECONDS_TO_ANSWER = 10.0


def main() -> None:
    topic, answers, count, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    rclpy.init()
    node = rclpy.create_node("image_publisher")
    publisher = node.create_publisher(Image, topic, qos.images("best_effort", 5))
    answered: list[int] = []

    def hear(message: FrameFeatures) -> None:
        answered.append(stamp_to_ns(message.header.stamp))
        if answered[-1]:
            print(answered[-1], flush=True)

    node.create_subscription(FrameFeatures, answers, hear, qos.LABELLED_FRAMES)
    pixels = np.random.default_rng(0).integers(0, 256, 640 * 480 * 3, dtype=np.uint8)
    data = array("B", pixels.tobytes())

    def publish(stamp_ns: int) -> None:
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="camera_link")
        publisher.publish(
            Image(header=header, height=480, width=640, encoding="bgr8", step=1920, data=data)
        )

    def wait_for(stamp_ns: int) -> None:
        """Until this picture or a later one is answered, unless it is lost."""
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while max(answered) < stamp_ns and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.005)

    while not answered:
        publish(0)
        rclpy.spin_once(node, timeout_sec=0.1)
    begin = time.monotonic()
    for number in range(1, count + 1):
        while time.monotonic() < begin + number / rate:
            rclpy.spin_once(node, timeout_sec=0.005)
        if number > IN_FLIGHT:
            wait_for(number - IN_FLIGHT)
        publish(number)
    wait_for(count)
    node.destroy_node()
    rclpy.shutdown()


main()
