"""`patchline record`: a process that records topics until Ctrl-C."""

from __future__ import annotations

import threading
import time

from rclpy.executors import SingleThreadedExecutor
from rich.console import Console

from patchline_ros.nodes.bag_recorder import FLUSH_SECONDS, LOOK_SECONDS, BagRecorder, RecordOptions
from patchline_ros.nodes.command import running


def record_bag(options: RecordOptions, seconds: float | None, console: Console) -> None:
    """Records until `seconds` are over or it is stopped, and says what is in the bag.

    Args:
        options: what is recorded.
        seconds: None: until Ctrl-C.
        console: for what it says.

    Raises:
        ValueError: the bag can't be made, or nothing came that could be recorded; then there is
            none.
        OSError: the disk refuses a message; what came before is in the bag.
    """
    with running("bag_recorder") as (node, stop):
        recorder = BagRecorder(options, node)
        console.print(f"recording to {options.bag}; Ctrl-C ends it")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            _record(recorder, executor, stop, seconds, console)
        finally:
            try:
                recorder.close()
            finally:
                _summary(recorder, console)
                executor.shutdown()
        if not any(recorder.written.values()):
            recorder.discard()
            raise ValueError(f"nothing was recorded, so there is no bag {options.bag}")


def _record(
    recorder: BagRecorder,
    executor: SingleThreadedExecutor,
    stop: threading.Event,
    seconds: float | None,
    console: Console,
) -> None:
    """Until `seconds` are over, it is stopped, or there is nothing that it could record."""
    said: set[str] = set()
    end = None if seconds is None else time.monotonic() + seconds
    looked, flushed = 0.0, time.monotonic()
    while not stop.is_set() and (end is None or time.monotonic() < end):
        if time.monotonic() - looked > LOOK_SECONDS:
            recorder.look()
            looked = time.monotonic()
            for topic in sorted(recorder.refused.keys() - said):
                console.print(f" refused  {topic}: {recorder.refused[topic]}", soft_wrap=True)
                said.add(topic)
            if recorder.hopeless:
                return
        if time.monotonic() - flushed > FLUSH_SECONDS:
            recorder.flush()
            flushed = time.monotonic()
        executor.spin_once(timeout_sec=0.05)


def _summary(recorder: BagRecorder, console: Console) -> None:
    for topic, count in sorted(recorder.written.items()):
        console.print(f"{count:8d}  {topic}")
    for topic in recorder.missing:
        console.print(f" nothing  {topic}: nobody published it")
