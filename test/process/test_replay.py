"""A recorded drive decides in a replay, under use_sim_time, what it decided live."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.msg import AdaptationStatus, DriftStatus, LabelledFrame
from ros_fixtures import Car
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import picture

from patchline_ros.graph import description
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import (
    labelled_frame_to_msg,
    ns_to_stamp,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.tasks import Sample, Task

RATE_HZ = 5
"""At most: a frame waits until the one before has its reading, so that none is dropped."""
DEPTH = 50
"""Pictures that wait for a node that stands still: all of them, since which ones are dropped would
not be the same twice."""
REPLAY_RATE = 2.0
SILENCE = 60
"""Seconds in which nothing happens at all, after which nothing is waited for any more."""
CLEAR, DRIFT = 20, 20
SETTLED = 16
"""The first reading that no frame before the drive has a part in: a window of 8 holds frames of the
drive alone, and so did the 8 before it, after which an earlier drift would be over."""
FIRST_NS = 1_700_000_000_000_000_000
CAMERA = qos.images("reliable", DEPTH)
PERCEPTION = {"queue_depth": DEPTH, "image_reliability": "reliable"}
NODES: dict[str, dict[str, Any]] = {
    "sign_classifier": PERCEPTION,
    "lane_segmenter": PERCEPTION,
    "drift_monitor": {},
    "adapter": {"min_frames": 12, "epochs": 3},
}
"""Their parameters. There is nothing to decide for the third perception node."""


class Heard:
    """What the graph decided."""

    def __init__(self, car: Car) -> None:
        self._car = car
        self._drift = car.probe.collect(DriftStatus, "drift_status", qos.LABELLED_FRAMES)
        self._statuses = car.probe.collect(AdaptationStatus, "adaptation_status", qos.LATCHED)

    @property
    def _readings(self) -> dict[int, DriftStatus]:
        """By the stamp of the frame."""
        return {stamp_to_ns(msg.header.stamp): msg for msg in self._drift}

    @property
    def drift(self) -> dict[int, tuple[float, bool, int]]:
        """MMD^2, whether it drifts and since when, by the stamp, from SETTLED on."""
        return {
            stamp: (msg.mmd2, msg.drifting, stamp_to_ns(msg.since))
            for stamp, msg in self._readings.items()
            if stamp >= stamp_of(SETTLED)
        }

    @property
    def episode(self) -> dict[str, Any]:
        """The report of the adaptation, without how long it took; empty while there is none."""
        text = self._statuses[-1].episode_json if self._statuses else ""
        return {key: value for key, value in json.loads(text or "{}").items() if key != "seconds"}

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds, as long as something happens."""
        self._car.probe.until(
            condition,
            SILENCE,
            lambda: (len(self._drift), len(self._statuses), self._car.progress()),
        )

    def wait_for_first_reading(self) -> None:
        """Shows pictures that are no part of the drive until there is a reading.

        All that a reading needs has then found each other, however long that took.
        """
        probe = self._car.probe
        road = probe.probe.create_publisher(Image, "image_raw", CAMERA)
        for number in count(-10_000):
            if self._drift:
                break
            self._car.progress()  # Fails where a node has ended.
            road.publish(rgb_to_image(picture(number % CLEAR), header_of(number)))
            probe.spin(0.1)
        probe.probe.destroy_publisher(road)

    def reading_of(self, number: int) -> bool:
        """Whether there is one of this frame of the drive."""
        return stamp_of(number) in self._readings

    @property
    def complete(self) -> bool:
        return bool(self.episode) and self.reading_of(CLEAR + DRIFT - 1)


def stamp_of(number: int) -> int:
    return FIRST_NS + number * 10**9 // RATE_HZ


def header_of(number: int) -> Header:
    return Header(stamp=ns_to_stamp(stamp_of(number)))


def start(car: Car, heard: Heard) -> None:
    for name, parameters in NODES.items():
        car.start(name, **parameters)
    heard.wait_for_first_reading()


def drive(car: Car, heard: Heard) -> None:
    """A camera: pictures like the source's, then dark ones with labels for two of the tasks."""
    probe = car.probe
    make = probe.probe.create_publisher
    road, signs = make(Image, "image_raw", CAMERA), make(Image, "sign/image_raw", CAMERA)
    labels = make(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)
    a_node_and_the_recorder = 2
    heard.wait(
        lambda: all(
            publisher.get_subscription_count() == a_node_and_the_recorder
            for publisher in (road, signs, labels)
        )
    )
    for number in range(CLEAR + DRIFT):
        header = header_of(number)
        dark = number >= CLEAR
        image = np.full((32, 32, 3), 30 + 20 * (number % 3), np.uint8) if dark else picture(number)
        road.publish(rgb_to_image(image, header))
        signs.publish(rgb_to_image(image, header))
        if dark:
            lanes = np.full((32, 32), number % 3, np.uint8)
            for task, label in ((Task.CLASSIFICATION, number % 3), (Task.SEGMENTATION, lanes)):
                sample = Sample(image, label)
                labels.publish(labelled_frame_to_msg(f"f{number}", task, sample, header))
        probe.spin(1 / RATE_HZ)
        heard.wait(partial(heard.reading_of, number))


def test_a_replay_decides_what_the_drive_decided(car, bench, tmp_path):
    car.settings = replace(car.settings, sign_image_topic="sign/image_raw")
    live, bag = Heard(car), tmp_path / "drive"
    start(car, live)
    recorder = car.run("record", [sys.executable, "-m", "patchline_ros.cli", "record", str(bag)])
    drive(car, live)
    live.wait(lambda: live.complete)
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(30) == 0, car.log("record")
    car.close()
    assert any(drifting for _, drifting, _ in live.drift.values())
    assert not live.drift[min(live.drift)][1]
    assert sorted(live.episode["order"]) == ["classification", "segmentation"]
    car.probe.close()

    settings = replace(car.settings, store=str(tmp_path / "fresh"), use_sim_time=True)
    (tmp_path / "replay").mkdir()
    again = Car(bench(), settings, tmp_path / "replay")
    try:
        replayed = Heard(again)
        start(again, replayed)
        names = ",".join(f"/{name}" for name in NODES)
        # The whole graph was recorded: the player leaves out what it published itself.
        options = {"bag": str(bag), "rate": REPLAY_RATE, "wait_for": names}
        player = description.NodeDescription("bag_player", "bag_player", options)
        played = again.run("player", description.command(player, settings))
        replayed.wait(lambda: played.poll() == 0)
        replayed.wait(lambda: replayed.complete)
        assert replayed.drift == live.drift
        assert replayed.episode == live.episode
    finally:
        again.close()
