"""What this process asks of the machine that it runs on: cores, its parent, library versions."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

import numpy as np
import torch

from patchline_ros import __version__

_PR_SET_PDEATHSIG = 1


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
    would go on as before.
    """
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
            niceness = os.getpriority(os.PRIO_PROCESS, int(thread)) + more
            os.setpriority(os.PRIO_PROCESS, int(thread), min(niceness, 19))


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    return {"patchline_ros": __version__, "torch": torch.__version__, "numpy": np.__version__}
