"""A running lane segmenter with its topics, and the messages that tests send to it."""

from __future__ import annotations

from patchline_ros.msg import PatchSet, PatchStatus
from ros_bench import Bench
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import picture

from patchline_ros.files import sha256
from patchline_ros.messages.pictures import image_to_classmap
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import bytes_field, ns_to_stamp, rgb_to_image
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.tasks import Task

RELIABLE = qos.images("reliable", 20)


def picture_msg(number: int) -> Image:
    """Picture `number`, stamped a second and its number in milliseconds after the beginning."""
    header = Header(stamp=ns_to_stamp((1_000 + number) * 1_000_000), frame_id="camera_link")
    return rgb_to_image(picture(number, 24, 40), header)


def patch_set_msg(data: bytes, task: Task = Task.SEGMENTATION, **fields: object) -> PatchSet:
    """The message that the adapter would send, with `fields` replaced."""
    facts = {"task": str(task), "version": 1, "sha256": sha256(data), **fields}
    return PatchSet(data=bytes_field(data), **facts)


class Lanes:
    """A running lane segmenter with its topics."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.masks = bench.collect(Image, "lane_segmenter/mask", qos.LABELLED_FRAMES)
        self.statuses = bench.collect(PatchStatus, "lane_segmenter/patch_status", qos.LATCHED)
        self.node = bench.start(LaneSegmenter)
        assert self.node.started
        self.camera = bench.publisher(Image, "image_raw", RELIABLE)
        self.adapter = bench.publisher(PatchSet, "patch_sets/lanes", qos.LATCHED)
        bench.until(lambda: bool(self.statuses))
        assert (self.statuses[0].state, self.statuses[0].version) == (PatchStatus.SOURCE, 0)

    def masks_of(self, *numbers: int) -> list[bytes]:
        """What the node says about these pictures, one after the other."""
        found = []
        for number in numbers:
            before = len(self.masks)
            self.camera.publish(picture_msg(number))
            self.bench.until(lambda before=before: len(self.masks) > before)
            found.append(image_to_classmap(self.masks[-1]).tobytes())
        return found

    def send(self, msg: PatchSet) -> PatchStatus:
        """The status that follows a patch set."""
        before = len(self.statuses)
        self.adapter.publish(msg)
        self.bench.until(lambda: len(self.statuses) > before)
        return self.statuses[-1]
