"""Keeps the frozen part of each view across epochs: as it is or rounded, in memory or in a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

CachePrecision = Literal["float32", "float16", "int8"]
_DTYPES: dict[CachePrecision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "int8": torch.uint8,
}
_NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.uint8: np.uint8}
STEPS = 255
"""Steps between the smallest and the largest 8 bit number."""


class FrozenCache:
    """Tensors of views, each batched along its first dimension.

    `float32` gives back what was put in, bit for bit. `int8` spreads 256 values evenly between the
    least and the greatest of each view and channel, so that no value is off by more than 1/510 of
    that range. Maps are kept with the channels of a pixel side by side, the order in which they are
    computed.
    """

    def __init__(
        self, views: int, precision: CachePrecision, memory_mib: float | None, device: torch.device
    ) -> None:
        """Nothing is allocated before the first batch says how large the tensors are.

        Args:
            views: how many there will be.
            precision: see above.
            memory_mib: what is larger than this is kept in a temporary file instead; None: never.
            device: where the tensors are wanted; a file's are copied there batch by batch.
        """
        self._views, self._precision = views, precision
        self._memory_mib, self._device = memory_mib, device
        self._levels: list[Tensor] = []
        self._ranges: list[tuple[Tensor, Tensor]] = []

    def tensors(self) -> list[Tensor]:
        """All that is kept."""
        return [*self._levels, *(each for both in self._ranges for each in both)]

    def put(self, start: int, parts: Sequence[Tensor]) -> None:
        """Keeps a batch: float32 tensors (B, C, H, W) or (B, C) of the views from `start` on."""
        if not self._levels:
            self._allocate(parts)
        for i, part in enumerate(parts):
            rows = slice(start, start + len(part))
            if self._precision == "int8":
                least, step = self._ranges[i]
                values = part.flatten(2) if part.dim() > 2 else part[:, :, None]
                least[rows] = values.amin(dim=2)
                step[rows] = ((values.amax(dim=2) - least[rows]) / STEPS).clamp_min(1e-12)
                part = ((part - _as_map(least[rows], part)) / _as_map(step[rows], part)).round()
            self._levels[i][rows] = _channels_last(part)

    def get(self, index: Tensor) -> list[Tensor]:
        """The tensors of some views, float32, as they were put in."""
        found = []
        for i, level in enumerate(self._levels):
            part = _channels_first(level[index.to(level.device)].to(self._device).float())
            if self._precision == "int8":
                least, step = (each[index] for each in self._ranges[i])
                part = part * _as_map(step, part) + _as_map(least, part)
            found.append(part)
        return found

    def _allocate(self, parts: Sequence[Tensor]) -> None:
        dtype = _DTYPES[self._precision]
        shapes = [(self._views, *_channels_last(part).shape[1:]) for part in parts]
        size = sum(prod(shape) for shape in shapes) * dtype.itemsize
        if self._memory_mib is None or size <= self._memory_mib * 2**20:
            self._levels = [torch.empty(s, dtype=dtype, device=self._device) for s in shapes]
        else:
            self._levels = [_in_file(shape, dtype) for shape in shapes]
        if self._precision == "int8":
            self._ranges = [
                (
                    torch.empty(self._views, part.shape[1], device=self._device),
                    torch.empty(self._views, part.shape[1], device=self._device),
                )
                for part in parts
            ]


def _in_file(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor in a temporary file that goes with it, however the process ends.

    Raises OSError where the disk is full.
    """
    with tempfile.TemporaryFile() as file:
        # A hole in a file that finds no room later would end the process instead.
        os.posix_fallocate(file.fileno(), 0, prod(shape) * dtype.itemsize)
        return torch.from_numpy(np.memmap(file, dtype=_NUMPY[dtype], mode="w+", shape=shape))


def _channels_last(part: Tensor) -> Tensor:
    return part.permute(0, 2, 3, 1) if part.dim() == 4 else part


def _channels_first(part: Tensor) -> Tensor:
    return part.permute(0, 3, 1, 2) if part.dim() == 4 else part


def _as_map(rows: Tensor, part: Tensor) -> Tensor:
    """(B, C) as it is, or (B, C, 1, 1) beside a map."""
    return rows[:, :, None, None] if part.dim() == 4 else rows
