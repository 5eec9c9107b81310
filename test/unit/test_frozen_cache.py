"""What is kept of the frozen part comes back, as exactly as was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from patchline_ros.adaptation.frozen_cache import STEPS, CachePrecision, FrozenCache

VIEWS = 7


def parts() -> list[Tensor]:
    """Two maps and a vector of each view; the first map's channels have very different ranges."""
    torch.manual_seed(0)
    ranges = torch.tensor([1e-3, 1.0, 300.0])[:, None, None]
    constant = torch.full((VIEWS, 1, 4, 5), 2.5)
    return [ranges * torch.randn(VIEWS, 3, 6, 8), constant, torch.randn(VIEWS, 10)]


def kept(precision: CachePrecision, memory_mib: float | None) -> FrozenCache:
    cache = FrozenCache(VIEWS, precision, memory_mib, torch.device("cpu"))
    for start in (0, 3, 6):
        cache.put(start, [part[start : start + 3] for part in parts()])
    return cache


@pytest.mark.parametrize("memory_mib", [None, 0.0], ids=["in memory", "in a file"])
def test_whole_numbers_come_back_bit_for_bit(memory_mib: float | None) -> None:
    index = torch.tensor([6, 0, 4])
    for found, part in zip(kept("float32", memory_mib).get(index), parts(), strict=True):
        assert torch.equal(found, part[index])


def test_rounded_ones_are_as_near_as_they_say() -> None:
    index = torch.arange(VIEWS)
    for found, part in zip(kept("float16", None).get(index), parts(), strict=True):
        assert torch.allclose(found, part, rtol=2**-11, atol=2**-24)
    maps = zip(kept("int8", None).get(index)[:2], parts()[:2], strict=True)
    for found, part in maps:
        spread = part.amax(dim=(2, 3), keepdim=True) - part.amin(dim=(2, 3), keepdim=True)
        # Half a step, and the rounding of the arithmetic itself.
        assert ((found - part).abs() <= spread / (2 * STEPS) + 1e-6 * part.abs()).all()


def test_a_file_changes_nothing_and_rounding_saves_memory() -> None:
    index = torch.arange(VIEWS)
    for precision in ("float16", "int8"):
        inside, outside = kept(precision, 1.0).get(index), kept(precision, 0.0).get(index)
        assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))
    sizes = {
        precision: sum(each.nbytes for each in kept(precision, None).tensors())
        for precision in ("float32", "float16", "int8")
    }
    assert sizes["float16"] == sizes["float32"] / 2
    values = sum(part.numel() for part in parts())
    ranges = 2 * 4 * VIEWS * sum(part.shape[1] for part in parts())
    assert sizes["int8"] == values + ranges
