"""Processes that are killed with SIGKILL in the middle of what they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Forks start at once; what runs in them is small and needs no thread of this process.
processes = multiprocessing.get_context("fork")

KEEPERS = ("store.py", "bank.py", "runner.py", "files.py")
"""Files of the package that keep things on disk."""
READING = (
    "select",
    "_stored",
    "_first_to_go",
    "worth",
    "entries",
    "_turn",
    "<genexpr>",
    "<lambda>",
)
"""Functions in them that change nothing: a death there is one before what is changed next."""


def _until_line(last: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Works, and dies at that line of the keepers, counted over all that run."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        code = frame.f_code
        if "patchline_ros" not in code.co_filename or not code.co_filename.endswith(KEEPERS):
            return None
        if code.co_name in READING or code.co_name.endswith("comp>"):
            return None
        lines += event == "line"
        if lines > last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    work(*arguments)


def killed_at_each_line(work: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Runs `work` in a new process that dies one line later each time; ends when it gets through.

    Yields the number of lines that it got done, after its death.
    """
    for line in range(1000):
        process = processes.Process(target=_until_line, args=(line, work, arguments))
        process.start()
        process.join()
        if process.exitcode == 0:
            return
        assert process.exitcode == -signal.SIGKILL
        yield line
    raise AssertionError("it never gets through: each death leaves the next more to do")
