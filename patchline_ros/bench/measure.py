"""What a run is measured with: peak memory of a piece of work, operations of scoring models, and
the machine it ran on.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import resource
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import psutil
import torch

from patchline_ros.bench.result import Machine
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.host import library_versions
from patchline_ros.tasks import Sample
from patchline_ros.vision.evaluation import Model, evaluate

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def _peak_since_reset() -> int:
    """Largest resident set since the peak was set back, in bytes; psutil does not know it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no VmHWM")
    return 1024 * int(found[1])


def _give_back_freed_memory() -> None:
    """So that what earlier work has freed is not taken again without being counted."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class PeakMemory:
    """Most memory that the work inside `with` needed.

    `bytes` on a CPU: how far the resident set of the process grew, at most, above where it began.
    On CUDA: the most that was allocated on the GPU, weights included. Linux can set a process's
    peak back; elsewhere it is the growth of the highest peak ever, 0 where that was higher before.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self.bytes = 0
        self._before = 0

    def __enter__(self) -> PeakMemory:
        """Sets the peak back."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":
            _give_back_freed_memory()
            _CLEAR.write_text(_RESET_PEAK)
            self._before = psutil.Process().memory_info().rss
        else:
            self._before = _highest_ever()
        return self

    def __exit__(self, *_: object) -> None:
        """Reads the peak."""
        if self._cuda:
            self.bytes = torch.cuda.max_memory_allocated()
        else:
            linux = sys.platform == "linux"
            peak = _peak_since_reset() if linux else _highest_ever()
            self.bytes = max(0, peak - self._before)


def _highest_ever() -> int:
    """Largest memory that the process has had, in bytes. (macOS gives bytes, others KiB.)"""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def gflops_of_scoring(models: Iterable[Model], samples: Sequence[Sample]) -> float:
    """What a gate computes that compares models on these frames, each from the picture on.

    They are scored for it, outside of all that is timed, since counting takes time.
    """
    with FlopCounter() as flops:
        for model in models:
            evaluate(model, samples)
    return flops.total / 1e9


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def machine(device: str, workers: int) -> Machine:
    """What this process runs on."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        workers=workers,
        device=torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    )


def versions() -> dict[str, str]:
    """Versions of everything that a result depends on, by name."""
    return {
        "python": platform.python_version(),
        "torchvision": metadata.version("torchvision"),
        "torchmetrics": metadata.version("torchmetrics"),
        **library_versions(),
    }
