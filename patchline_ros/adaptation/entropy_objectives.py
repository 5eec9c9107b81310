"""Learning without labels from how sure a model is: TENT and EATA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from patchline_ros.adaptation.objective import Objective
from patchline_ros.config_files import StrictModel
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import Image, Sample
from patchline_ros.vision.evaluation import answers
from patchline_ros.vision.inputs import device_of, make_batch

_FISHER_BATCH: Final = 4
"""Source pictures whose gradient is squared together."""
_MEMORY: Final = 0.9
"""Weight of what was seen before in the mean output that EATA compares pictures with."""


class TentSettings(StrictModel):
    """Entropy of the outputs is minimised (Wang et al., TENT, ICLR 2021)."""

    learner: Literal["tent"]


class EataSettings(StrictModel):
    """Entropy of sure outputs of unlike pictures, near the source (Niu et al., EATA, ICML 2022)."""

    learner: Literal["eata"]
    sure: float = Field(default=0.4, gt=0, le=1)
    """Share of the greatest entropy from which on an output counts as unsure, and is left out."""
    alike: float = Field(default=0.4, gt=0, le=1)
    """Cosine between the outputs of a picture with one label and the mean of those before it, from
    which on the picture says nothing new and is left out."""
    near: float = Field(default=2000.0, ge=0)
    """Weight of the squared changes, each times its Fisher information."""
    source_pictures: int = Field(default=64, ge=1)
    """Pictures of the source that the Fisher information is measured on."""


class MeanEntropy(Objective):
    """TENT's: mean entropy of all outputs."""

    def loss(self, model: AdaptedModel, frozen: list[Tensor], targets: Any) -> Tensor:
        """In nats."""
        entropy: Tensor = model.head.entropy(model.trained_part(frozen)).mean()
        return entropy


class SureEntropy(Objective):
    """EATA's: entropy of outputs that are sure enough, the surer the heavier, and a spring to the
    source's weights that is stiff where they matter.
    """

    def __init__(
        self, model: AdaptedModel, settings: EataSettings, source_images: Sequence[Image]
    ) -> None:
        """Measures which weights matter.

        Args:
            model: as it is before the training.
            settings: how.
            source_images: pictures of the source domain, one or more; no label is used.
        """
        self._settings = settings
        self._seen: Tensor | None = None
        self._start = {
            name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad
        }
        self._fisher = _fisher(model, source_images[: settings.source_pictures])

    def loss(self, model: AdaptedModel, frozen: list[Tensor], targets: Any) -> Tensor:
        """Entropy in nats, and the spring."""
        raw = model.trained_part(frozen)
        entropies = model.head.entropies(raw)
        most = math.log(len(model.spec.classes) if model.head.exclusive else 2)
        limit = self._settings.sure * most
        weights = (limit - entropies.detach()).exp() * (entropies.detach() < limit)
        if model.spec.task.traits.one_label:
            weights = weights * self._is_new(model.head.probabilities(raw).detach())[:, None]
        entropy = (weights * entropies).sum() / max(1, int((weights > 0).sum()))
        return entropy + self._settings.near * self._distance(model)

    def _is_new(self, probabilities: Tensor) -> Tensor:
        """(B,) whether each picture's outputs (B, C, 1) are unlike those before it."""
        found = []
        for outputs in probabilities[:, :, 0]:
            seen = self._seen
            cosine = 0.0 if seen is None else float(functional.cosine_similarity(outputs, seen, 0))
            found.append(cosine < self._settings.alike)
            if found[-1]:
                self._seen = outputs if seen is None else _MEMORY * seen + (1 - _MEMORY) * outputs
        return torch.tensor(found, device=probabilities.device)

    def _distance(self, model: AdaptedModel) -> Tensor:
        parts = [
            (self._fisher[name] * (parameter - self._start[name]) ** 2).sum()
            for name, parameter in model.named_parameters()
            if name in self._start
        ]
        return torch.stack(parts).sum()


def _fisher(model: AdaptedModel, images: Sequence[Image]) -> dict[str, Tensor]:
    """Mean squared gradient of each trained weight for the model's own answers."""
    model.eval()
    found = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    samples = [
        Sample(image, label)
        for image, label in zip(images, answers(model, images).labels, strict=True)
    ]
    batches = range(0, len(samples), _FISHER_BATCH)
    for start in batches:
        chosen = samples[start : start + _FISHER_BATCH]
        batch = make_batch(model.spec, chosen, device_of(model))
        model.zero_grad()
        model.head.loss(model(batch.images), batch.targets).backward()
        for name, parameter in model.named_parameters():
            if name in found and parameter.grad is not None:
                found[name] += parameter.grad.detach() ** 2 / len(batches)
    model.zero_grad()
    return found
