"""Which libraries run the models."""

from __future__ import annotations

from enum import Enum


class Backend(str, Enum):
    """PyTorch, or ONNX Runtime with graphs that were exported before.

    `auto` is ONNX Runtime for a model whose graph the bundle has, on a CPU and where it is
    installed, and PyTorch elsewhere.
    """

    AUTO = "auto"
    PYTORCH = "pytorch"
    ONNX = "onnx"

    def __str__(self) -> str:
        """As it is written in a parameter file."""
        return self.value
