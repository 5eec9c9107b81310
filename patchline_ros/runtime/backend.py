"""Which libraries run the models."""

from __future__ import annotations

from enum import Enum


class Backend(str, Enum):
    """PyTorch, or ONNX Runtime with graphs that were exported before."""

    PYTORCH = "pytorch"
    ONNX = "onnx"

    def __str__(self) -> str:
        """As it is written in a parameter file."""
        return self.value
