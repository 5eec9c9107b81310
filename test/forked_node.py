"""Processes of nodes that start at once: forked from one that has loaded PyTorch and ROS already.

What a node does from there on, its environment, signals and end are those of its own process. A
start from nothing, which takes seconds of processor time, is what the demo's test is for.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["patchline_ros.nodes.adapter", "patchline_ros.nodes.perception"])


def _run(module: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    os.setsid()
    os.environ.update(environment)
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class ForkedNode:
    """A running `python -m MODULE ARGUMENTS`, with what the tests use of subprocess.Popen."""

    def __init__(
        self, module: str, arguments: list[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._process = _context.Process(target=_run, args=(module, arguments, environment, log))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
