"""Splits the operations of a training step by the part of the model that they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel, Part
from patchline_ros.vision.heads.base import tensors_in


class PartCounter:
    """What `flops` has counted, by the part of a model that was entered last.

    Forward, a part is entered when one of its modules is called. Backward, it is entered when the
    gradient of what one of its modules gave is complete: autograd goes through the newest nodes
    first, so it is through with a part before it comes to the parts that were called earlier.
    """

    def __init__(self, flops: FlopCounter) -> None:
        self._flops = flops
        self._part: Part = "backbone"
        self._before = 0
        self._counts: Counter[Part] = Counter()

    def enter(self, part: Part) -> None:
        """Everything from here on belongs to `part`."""
        total = self._flops.total
        self._counts[self._part] += total - self._before
        self._before, self._part = total, part

    def take(self) -> Counter[Part]:
        """Operations of each part since the last call."""
        self.enter(self._part)
        taken, self._counts = self._counts, Counter()
        return taken

    def watch(self, module: nn.Module, part: Part) -> None:
        """Enters `part` whenever `module` is called, and when its gradient is computed."""

        def called(_module: nn.Module, _inputs: Any) -> None:
            self.enter(part)

        def gave(_module: nn.Module, inputs: Any, outputs: Any) -> None:
            if not torch.is_grad_enabled():
                return
            given = {id(tensor) for tensor in tensors_in(inputs)}
            for tensor in tensors_in(outputs):
                # What passes through unchanged is still the result of the part before.
                if tensor.requires_grad and id(tensor) not in given:
                    tensor.register_hook(lambda _gradient: self.enter(part))

        module.register_forward_pre_hook(called)
        module.register_forward_hook(gave)


@contextmanager
def counted_by_part(model: AdaptedModel) -> Iterator[PartCounter]:
    """Counts what `model` computes inside `with`; the model is to be used for nothing else."""
    with FlopCounter() as flops:
        counter = PartCounter(flops)
        for name, child in model.named_children():
            part: Part = "backbone" if name == "backbone" else "adapter"
            for module in child.modules():
                counter.watch(module, "head" if name == "head" else part)
        yield counter
