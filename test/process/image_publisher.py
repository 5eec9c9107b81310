"""Run as a process of its own: publishes 640x480 bgr8 pictures like a camera, then says how many.

The pictures that count are stamped 1, 2, ... nanoseconds. Before them go some with stamp 0, until
the answers to them arrive: discovery takes a moment that is no matter of transport. Nor is it how
fast a busy machine computes: a camera's rate is kept while at most IN_FLIGHT pictures wait for
their answers, which the node's queue holds. One that had no answer for SECONDS_TO_ANSWER is lost.

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
    answered = [-1]

    def hear(message: FrameFeatures) -> None:
        answered[0] = max(answered[0], stamp_to_ns(message.header.stamp))

    node.create_subscription(FrameFeatures, answers, hear, qos.LABELLED_FRAMES)
    pixels = np.random.default_rng(0).integers(0, 256, 640 * 480 * 3, dtype=np.uint8)
    data = array("B", pixels.tobytes())

    def publish(stamp_ns: int) -> None:
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="camera_link")
        publisher.publish(
            Image(header=header, height=480, width=640, encoding="bgr8", step=1920, data=data)
        )

    while answered[0] < 0:
        publish(0)
        rclpy.spin_once(node, timeout_sec=0.1)
    begin = time.monotonic()
    for number in range(1, count + 1):
        last = time.monotonic()
        due = begin + number / rate
        while time.monotonic() < due or (
            answered[0] < number - IN_FLIGHT and time.monotonic() - last < SECONDS_TO_ANSWER
        ):
            rclpy.spin_once(node, timeout_sec=0.005)
        publish(number)
    print(f"sent {count} in {time.monotonic() - begin:.2f} s", flush=True)
    time.sleep(1.0)
    node.destroy_node()
    rclpy.shutdown()


main()
