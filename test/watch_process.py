"""`patchline watch` as a process, and a car that goes on until the page shows something."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable

from ros_bench import Bench
from ros_fixtures import Car

COMMAND = [sys.executable, "-m", "patchline_ros.cli", "watch"]


def serving(car: Car, *arguments: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process with its two ports, once it serves."""
    process = car.run("watch", [*COMMAND, "--port", "0", "--websocket-port", "0", *arguments])
    found = printed(car, r"http://127\.0\.0\.1:(\d+)\s+Foxglove: ws://127\.0\.0\.1:(\d+)")
    return process, int(found[1]), int(found[2])


def printed(car: Car, pattern: str) -> re.Match[str]:
    """Where the process has printed something of that form."""
    deadline = time.monotonic() + 90
    while not (found := re.search(pattern, car.log("watch"))):
        assert time.monotonic() < deadline, car.log("watch")
        car.progress()
        time.sleep(0.1)
    return found


def until(probe: Bench, turn: Callable[[], object], condition: Callable[[], bool]) -> None:
    """Drives on until it holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        turn()
        probe.spin(0.1)
