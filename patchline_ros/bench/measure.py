"""What a run is measured with: peak memory of a piece of work, operations of scoring models, and
the machine it ran on.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from patchline_ros.bench.result import Machine
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.cost.live_tensors import LiveTensors
from patchline_ros.host import library_versions
from patchline_ros.tasks import Sample
from patchline_ros.vision.evaluation import Model, evaluate


class PeakMemory:
    """Most memory that the work inside `with` needed.

    `bytes` on a CPU: of the tensors that the work made. On CUDA: the most that was allocated on the
    GPU, weights included.
    """

    def __init__(self, device: str) -> None:
        self._tensors = None if device.startswith("cuda") else LiveTensors()
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        """Counts from here on."""
        if self._tensors is None:
            torch.cuda.reset_peak_memory_stats()
        else:
            self._tensors.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *failure: Any) -> None:
        """Reads the peak."""
        if self._tensors is None:
            self.bytes = torch.cuda.max_memory_allocated()
        else:
            self._tensors.__exit__(*failure)  # type: ignore[no-untyped-call]
            self.bytes = self._tensors.peak


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
