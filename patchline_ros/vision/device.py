"""On which device models run and are trained: the one place where that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch


class Device(str, Enum):
    """What can be asked for; `auto` is a GPU where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def __str__(self) -> str:
        """As it is written in a parameter file."""
        return self.value


class DeviceError(ValueError):
    """A device was asked for that is not there, or something that it is not for."""


def gpus() -> list[str]:
    """Names of the GPUs that PyTorch sees."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def chosen_device(asked: Device, seen: Sequence[str] | None = None) -> torch.device:
    """The device to compute on.

    Args:
        asked: by the user.
        seen: GPUs; None: those that PyTorch sees.

    Raises:
        DeviceError: a GPU was asked for, and there is none.
    """
    found = gpus() if seen is None else seen
    if asked is Device.CUDA and not found:
        built = "sees no GPU" if torch.version.cuda else "was built without CUDA"
        raise DeviceError(
            f"the device is cuda, but PyTorch {torch.__version__} {built}; take auto or cpu, or "
            "install a PyTorch for this GPU (docs/boards.md)"
        )
    return torch.device("cuda" if asked is not Device.CPU and found else "cpu")


def check_precision(device: torch.device, half: bool) -> None:
    """Refuses half precision (16 bits) on a CPU, which is slower at it.

    Raises:
        DeviceError: it was asked for, and the device is a CPU.
    """
    if half and device.type == "cpu":
        raise DeviceError(
            "half_precision is for a GPU, and the device is the CPU; take half_precision: false"
        )
