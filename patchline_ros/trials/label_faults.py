"""Labelled frames that are not what they should be."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from patchline_ros.msg import LabelledFrame
from patchline_ros.nodes.conversions import mask_to_image
from patchline_ros.tasks import Task
from patchline_ros.trials.case import Case
from patchline_ros.trials.message_changes import SECOND, cut_picture, setting, stamp
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph


def _sign(class_id: str) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        msg.sign.results[0].class_id = class_id

    return change


def _no_sign(msg: LabelledFrame) -> None:
    msg.sign.results = []


def _box(x: float, width: float) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        detection = _a_detection(msg)
        detection.bbox.center.position.x = x
        detection.bbox.size_x = width

    return change


def _a_detection(msg: LabelledFrame) -> Detection2D:
    """The first object; a message without any gets one."""
    if not msg.objects.detections:
        detection = Detection2D()
        detection.bbox.center.position.x = detection.bbox.center.position.y = 50.0
        detection.bbox.size_x = detection.bbox.size_y = 20.0
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = "0"
        detection.results = [hypothesis]
        msg.objects.detections = [detection]
    return msg.objects.detections[0]


def _no_hypothesis(msg: LabelledFrame) -> None:
    _a_detection(msg).results = []


def _lanes(classes: np.ndarray[Any, Any]) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        msg.lanes = mask_to_image(classes.astype(np.uint8), msg.header)

    return change


def _lanes_rgb(msg: LabelledFrame) -> None:
    msg.lanes = msg.image


def _lanes_unknown(msg: LabelledFrame) -> None:
    msg.lanes.data = array("B", bytes([77]) * len(msg.lanes.data))


def _cut_image(msg: LabelledFrame) -> None:
    cut_picture(msg.image)


def _of_2038(msg: LabelledFrame) -> None:
    stamp(msg, (2**31 - 1) * SECOND)


def _an_hour_ahead(msg: LabelledFrame) -> None:
    stamp(msg, time.time_ns() + 3600 * SECOND)


def _depth(msg: LabelledFrame) -> None:
    msg.image.encoding = "16UC1"


def _claim(msg: LabelledFrame) -> None:
    msg.image.height = msg.image.width = 10_000


def _no_lanes(msg: LabelledFrame) -> None:
    msg.lanes.height = msg.lanes.width = msg.lanes.step = 0
    msg.lanes.data = array("B")


def label_cases() -> list[Case]:
    """Labelled frames whose fields, pictures or labels are wrong, and that come out of order."""
    signs, objects, lanes = Task.CLASSIFICATION, Task.DETECTION, Task.SEGMENTATION
    spoiled: list[tuple[str, str, Task, Callable[[LabelledFrame], None]]] = [
        ("no-id", "it has no id", signs, setting(id="")),
        ("id-path", "its id is a path", signs, setting(id="../../../escaped")),
        ("id-long", "its id has 5000 letters", signs, setting(id="x" * 5000)),
        ("task", "its task is unknown", signs, setting(task="trees")),
        ("no-stamp", "its stamp is 0", signs, lambda msg: stamp(msg, 0)),
        ("stamp-negative", "its stamp is negative", signs, lambda msg: stamp(msg, -SECOND)),
        ("picture", "its picture is cut in half", signs, _cut_image),
        ("sign-text", "its sign is no number", signs, _sign("stop")),
        ("sign-unknown", "its sign is class 99", signs, _sign("99")),
        ("sign-negative", "its sign is class -1", signs, _sign("-1")),
        ("sign-huge", "its sign is class 10^30", signs, _sign("1" + "0" * 30)),
        ("sign-none", "it has no sign", signs, _no_sign),
        ("box-nan", "a box is at NaN", objects, _box(math.nan, 10.0)),
        ("box-outside", "a box lies outside of the picture", objects, _box(5000.0, 10.0)),
        ("box-negative", "a box is -10 pixels wide", objects, _box(100.0, -10.0)),
        ("box-infinite", "a box is infinitely wide", objects, _box(100.0, math.inf)),
        ("box-no-class", "a box has no class", objects, _no_hypothesis),
        ("id-escapes", "its id is escapes of a terminal", signs, setting(id="\x1b[2J\x1b]0;x\x07")),
        ("id-dots", "its id is ../x", signs, setting(id="../x")),
        ("id-unicode", "its id turns the text around", signs, setting(id="a\u202eb")),
        ("task-escapes", "its task is escapes", signs, setting(task="\x1b[31m")),
        ("stamp-future", "its stamp is of 2038", signs, _of_2038),
        ("stamp-ahead", "its picture is an hour ahead", signs, _an_hour_ahead),
        ("picture-depth", "its picture is depth", signs, _depth),
        ("picture-claim", "its picture claims 100 megapixels", signs, _claim),
        ("sign-float", "its sign is class 1.0", signs, _sign("1.0")),
        ("sign-space", "its sign is 5000 digits", signs, _sign("1" * 5000)),
        ("box-huge", "a box is 10^308 pixels wide", objects, _box(100.0, 1e308)),
        ("box-empty", "a box is 0 pixels wide", objects, _box(100.0, 0.0)),
        ("map-empty", "there is no class map", lanes, _no_lanes),
        ("map-size", "the class map is of another size", lanes, _lanes(np.zeros((8, 8)))),
        ("map-unknown", "the class map has class 77", lanes, _lanes_unknown),
        ("map-encoding", "the class map is rgb8", lanes, _lanes_rgb),
    ]
    cases = [
        Case(f"label-{name}", "message", f"labelled frame: {what}", partial(_refused, task, change))
        for name, what, task, change in spoiled
    ]
    what = "labelled frames: the last first, each one twice"
    return [*cases, Case("labels-reordered", "message", what, _reordered_labels)]


@contextmanager
def _refused(
    task: Task, change: Callable[[LabelledFrame], None], trial: TrialGraph
) -> Iterator[None]:
    refused = trial.growth(ADAPTER, "refused")
    stamp_ns = time.time_ns()
    sample = trial.pictures.labelled[task][0]
    trial.probe.teach("spoiled", task, sample, stamp_ns, change)
    trial.over()
    trial.until(refused, "the adapter counts it as refused")
    if any(frame.frame_id == "spoiled" for kind in trial.tasks for frame in trial.select(kind)):
        trial.trouble("the spoiled labelled frame was stored")
    yield


@contextmanager
def _reordered_labels(trial: TrialGraph) -> Iterator[None]:
    keys = [trial.new_lesson(task) for task in [*trial.tasks] * 4]
    for key in [*keys[::-1], *keys]:
        trial.teach_again(*key)
    trial.until(lambda: all(trial.stored(*key) for key in keys), "all of them are stored", 15)
    trial.over()
    yield
