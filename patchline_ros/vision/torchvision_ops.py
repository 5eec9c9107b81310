"""Makes torchvision importable beside a CPU-only torch whose ABI its compiled operators do not fit.

torchvision's wheel is linked against CUDA builds of torch. Beside `torch 2.x+cpu` its operator
library does not load, and `import torchvision` itself then fails, because it registers fake
kernels for operators that nobody defined. Import this module before torchvision: where the real
operators load it does nothing; elsewhere it defines the schemas of `nms` and `qnms` and gives
`nms` a CPU kernel. Other torchvision operators (roi_align, deform_conv2d, ...) stay missing, and
nothing in this package uses them.

It also keeps `torch._dynamo` out of the import, which takes as long as all the rest of a node's.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

_BLOCK: Final = 64
"""Boxes that are compared with all after them at once."""
_SCHEMA = "{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_definitions = torch.library.Library("torchvision", "FRAGMENT")
"""Kept for the life of the process: a Library that is collected takes its operators with it."""


def nms_cpu(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (n, 4) as x1, y1, x2, y2.
        scores: (n,).
        iou_threshold: a box is dropped when it overlaps a better one by more than this.

    Returns:
        Indices of the boxes kept, by falling score, int64.
    """
    order = scores.sort(descending=True, stable=True).indices
    ranked = boxes[order].T.contiguous().numpy()
    dropped = np.zeros(len(order), dtype=bool)
    kept: list[int] = []
    for start in range(0, len(order), _BLOCK):
        rows = start + np.flatnonzero(~dropped[start : start + _BLOCK])
        # Most boxes are dropped before their turn, and a box can only drop those after it.
        overlaps = _iou(ranked[:, rows], ranked[:, start:]) > iou_threshold
        for row, overlapped in zip(rows.tolist(), overlaps, strict=True):
            if not dropped[row]:
                kept.append(row)
                dropped[start:] |= overlapped
    return order[kept]


def _iou(some: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """(n, m) overlap of boxes (4, n) with others (4, m); NaN for two that have no area."""
    width, height = (
        np.minimum.outer(some[2 + side], others[2 + side])
        - np.maximum.outer(some[side], others[side])
        for side in (0, 1)
    )
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(boxes[2] - boxes[0]) * (boxes[3] - boxes[1]) for boxes in (some, others)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[Any] = intersection / (np.add.outer(*areas) - intersection)
    return found


def _load_compiled_operators() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")


def _is_compile_supported(device_type: str) -> bool:
    """What `torch._dynamo.utils` says, imported only when roi_align asks."""
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """Imports of torchvision in here do not import `torch._dynamo`.

    torchvision means to load the compiler on demand, but asks it at import for one function. A
    module with that function alone stands in for it, and is taken away again.
    """
    names = ("torch._dynamo", "torch._dynamo.utils")
    if names[0] in sys.modules:
        yield
        return
    for name in names:
        sys.modules[name] = ModuleType(name)
    setattr(sys.modules[names[1]], _is_compile_supported.__name__[1:], _is_compile_supported)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


_compiled = _load_compiled_operators()
if not _compiled:
    for _name in ("nms", "qnms"):
        _definitions.define(_SCHEMA.format(name=_name))
    _definitions.impl("nms", nms_cpu, "CPU")
with _without_dynamo():
    import torchvision.extension

if not _compiled:
    # torchvision asks this before it calls an operator; the one that we call is there now.
    torchvision.extension._has_ops = lambda: True
