"""How much memory a training step takes: what autograd keeps for the backward pass, and all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.model import ModelSpec, TaskModel


class SavedTensors:
    """What was kept for the backward pass. A storage that several nodes share counts once.

    Parameters and buffers of the model are there anyway and do not count.
    """

    def __init__(self, model: nn.Module) -> None:
        own = [*model.parameters(), *model.buffers()]
        # Held on to, so that no storage is freed and another mistaken for it.
        self._own = {tensor.untyped_storage() for tensor in own}
        self._saved: set[torch.UntypedStorage] = set()

    def keep(self, tensor: Tensor) -> Tensor:
        """Notes one tensor; the copy that is saved in its place shares its storage."""
        self._saved.add(tensor.untyped_storage())
        return tensor.detach()

    @property
    def bytes(self) -> int:
        """Size of all storages."""
        return sum(storage.nbytes() for storage in self._saved - self._own)


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[SavedTensors]:
    """Notes what autograd keeps inside `with`; works on the meta device as well."""
    saved = SavedTensors(model)
    with saved_tensors_hooks(saved.keep, lambda tensor: tensor):
        yield saved


def output_sum(raw: object) -> Tensor:
    """A loss for counting: the sum of a head's raw outputs. A real loss has no matrix product."""
    return torch.stack([tensor.sum() for tensor in tensors_in(raw)]).sum()


def _step(model: AdaptedModel, images: Tensor) -> None:
    output_sum(model(images)).backward()


def peak_cuda_bytes(spec: ModelSpec, settings: MethodSettings, batch: int) -> int | None:
    """Most memory allocated on the GPU in one real training step, the weights included.

    Forward and backward pass; no optimiser. None when the step does not fit on the GPU.
    """
    try:
        with torch.device("cuda"):
            model = adapted(TaskModel(spec), settings).train()
            images = torch.randn(batch, 3, *spec.input_size)
        torch.cuda.reset_peak_memory_stats()
        _step(model, images)
        return torch.cuda.max_memory_allocated()
    except torch.cuda.OutOfMemoryError:
        return None
