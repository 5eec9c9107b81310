"""Pictures that are not what they should be."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sensor_msgs.msg import Image

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.trials.case import Case
from patchline_ros.trials.message_changes import SECOND, TIMES, cut_picture, setting, stamp
from patchline_ros.trials.probe import Manner
from patchline_ros.trials.trial_graph import TrialGraph


def _no_picture(msg: Image) -> None:
    msg.height = msg.width = msg.step = 0
    msg.data = array("B")


def _large_picture(msg: Image) -> None:
    msg.height, msg.width, msg.step = 3000, 4000, 12_000
    msg.data = array("B", bytes(3000 * 12_000))


def _tiny_picture(msg: Image) -> None:
    msg.height = msg.width = 1
    msg.step, msg.data = 3, array("B", bytes(3))


def _one_byte_more(msg: Image) -> None:
    msg.data = array("B", [*msg.data, 0])


def picture_cases() -> list[Case]:
    """Pictures that can't be read, that are odd, and that come in another manner."""
    spoiled: list[tuple[str, str, Callable[[Image], None]]] = [
        ("encoding", "the encoding is unknown", setting(encoding="rgb24")),
        ("encoding-empty", "the encoding is empty", setting(encoding="")),
        ("encoding-other", "bytes of rgb8 are said to be bgra8", setting(encoding="bgra8")),
        ("truncated", "half of the data is missing", cut_picture),
        ("no-data", "there is no data", setting(data=array("B"))),
        ("step-short", "the step is shorter than a row", setting(step=100)),
        ("step-long", "the step is longer than the data", setting(step=4000)),
        ("empty", "0 x 0 pixels", _no_picture),
        ("huge", "2^32 - 1 pixels a side", setting(height=2**32 - 1, width=2**32 - 1)),
        ("100-megapixels", "a claim of 10 000 x 10 000", setting(height=10_000, width=10_000)),
        ("depth", "it is depth of 16 bits", setting(encoding="16UC1")),
        ("depth-float", "it is depth of 32 bits", setting(encoding="32FC1")),
        ("encoding-escapes", "the encoding is escapes", setting(encoding="\x1b[2Jrgb8")),
        ("encoding-long", "the encoding has 5000 letters", setting(encoding="x" * 5000)),
        ("step-zero", "the step is 0", setting(step=0)),
        ("step-huge", "the step is 2^32 - 1", setting(step=2**32 - 1)),
        ("width-zero", "it is 0 pixels wide", setting(width=0)),
        ("data-more", "a byte too many", _one_byte_more),
    ]
    cases = [
        Case(f"picture-{name}", "message", f"picture: {what}", partial(_unreadable, change))
        for name, what, change in spoiled
    ]
    odd: list[tuple[str, str, Callable[[Image], None]]] = [
        ("tiny", "one pixel", _tiny_picture),
        ("large", "12 megapixels", _large_picture),
        ("stamp-zero", "the stamp is 0", lambda msg: stamp(msg, 0)),
        ("stamp-negative", "the stamp is negative", lambda msg: stamp(msg, -5 * SECOND)),
        ("stamp-future", "the stamp is of 2038", lambda msg: stamp(msg, (2**31 - 1) * SECOND)),
    ]
    cases += [
        Case(f"picture-{name}", "message", f"picture: {what}", partial(_odd_picture, change))
        for name, what, change in odd
    ]
    cases += [
        Case(f"pictures-{manner.name.lower()}", "message", f"pictures: {manner.value}", fault)
        for manner in (Manner.DROPPED, Manner.REORDERED, Manner.TWICE)
        for fault in [partial(_sent_so, manner)]
    ]
    return cases


@contextmanager
def _unreadable(change: Callable[[Image], None], trial: TrialGraph) -> Iterator[None]:
    said = [trial.growth(name, "unreadable") for name in NODE_OF_TASK.values()]
    for _ in range(TIMES):
        trial.probe.show(change)
        trial.wait(0.1)
    trial.over()
    trial.until(lambda: all(one() for one in said), "all perception nodes count it as unreadable")
    yield


@contextmanager
def _odd_picture(change: Callable[[Image], None], trial: TrialGraph) -> Iterator[None]:
    for _ in range(TIMES):
        trial.probe.show(change)
        trial.wait(0.3)
    trial.over()
    yield


@contextmanager
def _sent_so(manner: Manner, trial: TrialGraph) -> Iterator[None]:
    trial.probe.manner = manner
    try:
        trial.wait(4.0)
    finally:
        trial.probe.manner = Manner.STEADY
    trial.over()
    yield
