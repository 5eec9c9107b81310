"""How much memory a piece of work needs, counted tensor by tensor.

The resident set of a process depends on what it did before: freed memory is taken again without
growth. What tensors take does not, so that the same work gives the same figure each time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside `with` until they are freed.

    A storage counts once, however many tensors share it. What autograd keeps counts, too; what an
    operation needs only while it runs does not, and neither do tensors that were there before.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._live: dict[int, int] = {}
        self._now = 0
        self.peak = 0
        """Most bytes that were there at a time."""

    @property
    def bytes(self) -> int:
        """Bytes that are there now."""
        return self._now

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Does the operation, and notes what it makes."""
        given = {storage._cdata for storage in _storages((args, kwargs))}
        found = func(*args, **(kwargs or {}))
        for storage in _storages(found):
            # An operation in place gives what was there.
            if storage._cdata not in given:
                self._note(storage)
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._live:
            return
        self._live[key] = storage.nbytes()
        self._now += self._live[key]
        self.peak = max(self.peak, self._now)
        # PyTorch keeps one Python object for a storage as long as anything keeps the storage.
        weakref.finalize(storage, self._freed, key).atexit = False

    def _freed(self, key: int) -> None:
        self._now -= self._live.pop(key)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    """Of all tensors in nested values."""
    leaves = tree_leaves(values)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, torch.Tensor)]
