"""Which of ONNX Runtime's execution providers are tried for a device."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import torch

from patchline_ros.vision.device import Device, DeviceError, check_precision

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

Provider: TypeAlias = "str | tuple[str, dict[str, Any]]"
"""A provider's name, or that with its options."""


def providers_for(
    device: Device, tensorrt: bool, available: Collection[str], half_precision: bool = False
) -> tuple[Provider, ...]:
    """The providers to try, the best first; ONNX Runtime falls back to the next one.

    TensorRT builds an engine for each new set of weights, which takes from seconds to minutes. So
    it is not tried unasked.

    Args:
        device: that was asked for.
        tensorrt: whether TensorRT may run what it can.
        available: those that this onnxruntime was built with.
        half_precision: whether TensorRT is to compute in 16 bits what it may.

    Raises:
        DeviceError: a GPU was asked for, and this onnxruntime has no provider for one; or half
            precision, which only TensorRT has.
    """
    if half_precision:
        _check_half_precision(device, tensorrt, available)
        return ((TENSORRT, {"trt_fp16_enable": True}), *_found((CUDA,), available), CPU)
    if device is Device.CPU:
        return (CPU,)
    wanted = (TENSORRT, CUDA) if tensorrt else (CUDA,)
    found = _found(wanted, available)
    if device is Device.CUDA and not found:
        raise DeviceError(
            f"the device is cuda, but this onnxruntime has only {', '.join(sorted(available))}; "
            "take auto or cpu, or install onnxruntime-gpu (docs/boards.md)"
        )
    return (*found, CPU)


def name_of(provider: Provider) -> str:
    """The provider without its options."""
    return provider if isinstance(provider, str) else provider[0]


def _found(wanted: tuple[str, ...], available: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in available)


def _check_half_precision(device: Device, tensorrt: bool, available: Collection[str]) -> None:
    """Refuses it where it would not run: other providers compute what the graph says, 32 bits."""
    if device is Device.CPU:
        check_precision(torch.device("cpu"), half=True)
    if not tensorrt:
        raise DeviceError(
            "with the backend onnx only TensorRT computes in half precision, the CUDA provider "
            "does not; give tensorrt: true, or take the backend pytorch"
        )
    if TENSORRT not in available:
        raise DeviceError(
            "with the backend onnx only TensorRT computes in half precision, and this onnxruntime "
            f"has only {', '.join(sorted(available))}; take the backend pytorch, or "
            "half_precision: false"
        )
