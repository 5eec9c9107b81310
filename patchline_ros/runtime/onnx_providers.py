"""Which of ONNX Runtime's execution providers are tried for a device."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from patchline_ros.vision.device import Device, DeviceError

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"


def providers_for(device: Device, tensorrt: bool, available: Collection[str]) -> tuple[str, ...]:
    """The providers to try, the best first; ONNX Runtime falls back to the next one.

    TensorRT builds an engine for each new set of weights, which takes from seconds to minutes. So
    it is not tried unasked.

    Args:
        device: that was asked for.
        tensorrt: whether TensorRT may run what it can.
        available: those that this onnxruntime was built with.

    Raises:
        DeviceError: a GPU was asked for, and this onnxruntime has no provider for one.
    """
    if device is Device.CPU:
        return (CPU,)
    wanted = (TENSORRT, CUDA) if tensorrt else (CUDA,)
    found = tuple(name for name in wanted if name in available)
    if device is Device.CUDA and not found:
        raise DeviceError(
            f"the device is cuda, but this onnxruntime has only {', '.join(sorted(available))}; "
            "take auto or cpu, or install onnxruntime-gpu (docs/boards.md)"
        )
    return (*found, CPU)
