"""What this process asks of the machine that it runs on: cores, its parent, library versions."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

import numpy as np
import torch

from patchline_ros import __version__

_PR_SET_PDEATHSIG = 1
_SESSION_GROUP: Final = Path("/proc/self/autogroup")
"""Where Linux keeps the group in which a session shares the cores: sched(7), autogroup."""


def all_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """Asks Linux for a SIGKILL when the parent ends, so that no worker outlives its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_way(more: int) -> None:
    """Adds to the niceness of every thread of this process, and of those that they start.

    Linux has a niceness for each thread: libraries have started some when this is called, and they
    would go on as before. Most kernels also share the cores between sessions first, in groups that
    have a niceness of their own, so that the niceness of a process counts in its own session alone.
    A process that leads a session therefore adds it to the session's group, too.
    """
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
            niceness = os.getpriority(os.PRIO_PROCESS, int(thread)) + more
            os.setpriority(os.PRIO_PROCESS, int(thread), min(niceness, 19))
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # A kernel without such groups has no such file.
            niceness = int(_SESSION_GROUP.read_text(encoding="ascii").rpartition(" ")[2]) + more
            _SESSION_GROUP.write_text(str(min(niceness, 19)), encoding="ascii")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    return {"patchline_ros": __version__, "torch": torch.__version__, "numpy": np.__version__}
