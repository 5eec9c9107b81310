"""What this process asks of the machine that it runs on: cores, its parent, library versions."""

from __future__ import annotations

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


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    return {"patchline_ros": __version__, "torch": torch.__version__, "numpy": np.__version__}
