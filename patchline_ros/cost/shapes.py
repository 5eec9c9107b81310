"""Makes counting on the meta device fast: what shape an operation gives is worked out once.

A tensor on the meta device has no content, so the same operation on tensors of the same shapes
always gives the same shapes. PyTorch works them out in Python, those of a batch norm anew each
time from some twenty smaller operations, which was most of what counting took.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_KNOWN: dict[Hashable, Any] = {}
"""Description of an operation's result, by the operation and the description of its arguments."""


class _HasContentError(Exception):
    """A tensor is not on the meta device, so its content may decide what an operation gives."""


def _described(value: Any) -> Hashable:
    """All of an argument or a result that has to do with shapes."""
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise _HasContentError
        return Tensor, value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_described, value))
    if isinstance(value, dict):
        return dict, tuple((key, _described(each)) for key, each in value.items())
    return type(value), value  # The type too: 1 and True are equal, and give other dtypes.


def _made(description: Any) -> Any:
    """A fresh result of this description."""
    kind, *rest = description
    if kind is Tensor:
        shape, stride, dtype = rest
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return kind(map(_made, rest[0])) if kind in (list, tuple) else rest[0]


class _RememberedShapes(TorchDispatchMode):
    """Makes the result of an operation that is known; carries out and notes any other."""

    def __torch_dispatch__(
        self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        aliases = [result.alias_info for result in operation._schema.returns]
        in_place = len(aliases) == 1 and aliases[0] is not None and aliases[0].is_write
        try:
            key = (operation, _described(args), _described(kwargs))
            if key in _KNOWN:
                return args[0] if in_place else _made(_KNOWN[key])
            result = operation(*args, **kwargs)
            # A view shares its storage with its argument, and is cheap to carry out.
            if in_place or not any(aliases):
                _KNOWN[key] = _described(result)
            return result
        except _HasContentError:
            return operation(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Inside `with`, new tensors are on the meta device, and its known shapes are remembered."""
    with torch.device("meta"), _RememberedShapes():  # type: ignore[no-untyped-call]
        yield
