"""Counts floating-point operations, two for a multiply-add, as they are carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count
from torch.utils.module_tracker import ModuleTracker


def _convolution_backward(
    gradient: Sequence[int],
    images: Sequence[int],
    weight: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """The input's and the weight's gradient each take as much as the forward pass.

    PyTorch's own formula counts the weight's gradient of a grouped convolution as if it were dense.
    """
    forward: int = conv_flop_count(list(images), list(weight), list(gradient), transposed)
    return forward * (wanted[0] + wanted[1])


class _NoModules(ModuleTracker):
    """Knows the whole only. The library's tracker fails on a view that is made inside `no_grad` of
    a tensor with a gradient, which is what Swin's groups do in detached wiring.
    """

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FlopCounter(FlopCounterMode):
    """Counts every matrix product and convolution inside `with`, forward and backward."""

    def __init__(self) -> None:
        super().__init__(
            display=False,
            custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward},
        )
        self.mod_tracker = _NoModules()

    @property
    def total(self) -> int:
        """Operations so far."""
        return int(self.get_total_flops())
