"""Run as a process of its own: publishes 640x480 bgr8 pictures like a camera, then says how many.

The pictures that count are stamped 1, 2, ... nanoseconds. Before them go some with stamp 0, until a
file says that the answers to them arrive: discovery takes a moment that is no matter of transport.

Usage: image_publisher.py TOPIC FILE COUNT RATE
"""

import sys
import time
from array import array
from pathlib import Path

import numpy as np
import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp


def main() -> None:
    topic, ready, count, rate = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    rclpy.init()
    node = rclpy.create_node("image_publisher")
    publisher = node.create_publisher(Image, topic, qos.images("best_effort", 5))
    pixels = np.random.default_rng(0).integers(0, 256, 640 * 480 * 3, dtype=np.uint8)
    data = array("B", pixels.tobytes())

    def publish(stamp_ns: int) -> None:
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="camera_link")
        publisher.publish(
            Image(header=header, height=480, width=640, encoding="bgr8", step=1920, data=data)
        )

    while not ready.exists():
        publish(0)
        time.sleep(0.1)
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        publish(number + 1)
    print(f"sent {count} in {time.monotonic() - begin:.2f} s", flush=True)
    time.sleep(1.0)
    node.destroy_node()
    rclpy.shutdown()


main()
