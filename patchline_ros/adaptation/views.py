"""The views of labelled frames that a training sees, and what is kept of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from patchline_ros.adaptation.frozen_cache import CachePrecision, FrozenCache
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.augmentation import augmented
from patchline_ros.vision.inputs import device_of, flipped, make_batch


class KeptViews(Protocol):
    """Views whose targets are known, and the frozen part of each."""

    targets: list[Any]

    def batch(self, chosen: Sequence[int]) -> tuple[list[Tensor], Any]:
        """The frozen part and the targets of some views."""

    def tensors(self) -> list[Tensor]:
        """All that is kept of them."""


class Views:
    """Views of the frames with their targets, and what is kept of each: frozen part or picture."""

    def __init__(
        self,
        model: AdaptedModel,
        views: Sequence[Sample],
        settings: TrainingSettings,
        record: TrainingRecord,
    ) -> None:
        """Computes what is kept of each view; `record` gets what that costs."""
        self._model, self._policy, self._record = model, settings.cache, record
        self._gflops_per_view: float | None = None
        self.targets: list[Any] = []
        precision: CachePrecision = "float32" if self._policy == "none" else self._policy
        device = device_of(model)
        self.kept = FrozenCache(len(views), precision, settings.cache_memory_mib, device)
        for start in range(0, len(views), settings.batch_size):
            chosen = views[start : start + settings.batch_size]
            batch = make_batch(model.spec, chosen, device)
            self.targets.extend(batch.targets)
            uncached = self._policy == "none"
            self.kept.put(start, [batch.images] if uncached else self._pass(batch.images))

    def _pass(self, images: Tensor) -> list[Tensor]:
        if self._gflops_per_view is None:
            with FlopCounter() as flops:
                frozen = self._model.frozen_part(images)
            self._gflops_per_view = flops.total / 1e9 / len(images)
        else:
            frozen = self._model.frozen_part(images)
        self._record.spend("frozen", self._gflops_per_view * len(images))
        return frozen

    def tensors(self) -> list[Tensor]:
        """All that is kept of them."""
        return self.kept.tensors()

    def batch(self, chosen: Sequence[int]) -> tuple[list[Tensor], Any]:
        """The frozen part and the targets of some views."""
        kept = self.kept.get(torch.as_tensor(chosen, device=device_of(self._model)))
        targets = _stacked([self.targets[i] for i in chosen])
        return self._pass(kept[0]) if self._policy == "none" else kept, targets


class JoinedViews:
    """Several sets of views as one, each of which has norm statistics of its own.

    Their frozen parts have to be kept: the model has other statistics by now.
    """

    def __init__(self, parts: Sequence[Views]) -> None:
        self._parts = parts
        self._places = [(part, row) for part in parts for row in range(len(part.targets))]
        self.targets = [target for part in parts for target in part.targets]

    def tensors(self) -> list[Tensor]:
        """All that is kept of them."""
        return [tensor for part in self._parts for tensor in part.tensors()]

    def batch(self, chosen: Sequence[int]) -> tuple[list[Tensor], Any]:
        """The frozen part and the targets of some views, in the order asked for."""
        each = [part.batch([row])[0] for part, row in (self._places[i] for i in chosen)]
        frozen = [torch.cat(tensors) for tensors in zip(*each, strict=True)]
        return frozen, _stacked([self.targets[i] for i in chosen])


def _stacked(targets: list[Any]) -> Any:
    """Targets as a batch: numbers and class maps side by side, boxes in a list."""
    return torch.stack(targets) if isinstance(targets[0], Tensor) else targets


def views_of(
    task: Task, samples: Sequence[Sample], settings: TrainingSettings, seed: int
) -> list[Sample]:
    """The samples, then their mirrored and their other views as the settings ask for them."""
    views = list(samples)
    if settings.mirror and not task.traits.one_label:
        views += [flipped(sample) for sample in samples]
    rng = np.random.default_rng(seed)
    for _ in range(settings.augmented_views):
        views += [augmented(task, sample, rng) for sample in samples]
    return views
