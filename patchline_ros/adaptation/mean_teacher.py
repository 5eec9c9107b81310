"""Learning without labels from a slower copy of the model itself: CoTTA."""

from __future__ import annotations

import copy
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from patchline_ros.adaptation.objective import Objective
from patchline_ros.config_files import StrictModel
from patchline_ros.patching.adapted_model import AdaptedModel

_EXPOSURES: Final = (0.8, 1.0, 1.25)
"""Factors on the normalised picture under which an unsure teacher looks at it."""


class CottaSettings(StrictModel):
    """A teacher averaged over time and views, and weights that now and then return to the source's
    (Wang et al., CoTTA, CVPR 2022).
    """

    learner: Literal["cotta"]
    momentum: float = Field(default=0.99, gt=0, lt=1)
    """Of the teacher's weights; the authors' 0.999 is for some thousand steps."""
    sure: float = Field(default=0.69, ge=0, le=1)
    """Confidence of the source model below which the teacher looks at several exposures."""
    restored: float = Field(default=0.01, ge=0, lt=1)
    """Probability with which a weight returns to the source's after a step."""


class MeanTeacher(Objective):
    """CoTTA's: cross entropy with the teacher's outputs. At the end the teacher is the model."""

    def __init__(self, model: AdaptedModel, settings: CottaSettings, seed: int) -> None:
        """The teacher and the anchor are the model as it is before the training.

        Args:
            model: whose frozen part is the picture, or fine-tuned behind frozen taps.
            settings: how.
            seed: of which weights return.
        """
        self._settings = settings
        self._teacher = copy.deepcopy(model).eval()
        self._anchor = copy.deepcopy(model).eval()
        self._generator = torch.Generator().manual_seed(seed)

    def loss(self, model: AdaptedModel, frozen: list[Tensor], targets: Any) -> Tensor:
        """Cross entropy with the teacher's probabilities."""
        loss: Tensor = model.head.soft_loss(model.trained_part(frozen), self._taught(frozen))
        return loss

    def _taught(self, frozen: list[Tensor]) -> Tensor:
        """(B, C, n) the teacher's probabilities, over exposures where the source is unsure."""
        teacher, anchor = self._teacher, self._anchor
        with torch.no_grad():
            sure = float(anchor.head.confidence(anchor.trained_part(frozen)).mean())
            exposures = (1.0,) if sure >= self._settings.sure else _EXPOSURES
            seen = [
                teacher.head.probabilities(teacher.trained_part([factor * part for part in frozen]))
                for factor in exposures
            ]
            return torch.stack(seen).mean(dim=0)

    def stepped(self, model: AdaptedModel) -> None:
        """The teacher follows, and some weights return."""
        momentum, taught = self._settings.momentum, dict(self._teacher.named_parameters())
        anchored = dict(self._anchor.named_parameters())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not parameter.requires_grad:
                    continue
                taught[name].mul_(momentum).add_(parameter, alpha=1 - momentum)
                drawn = torch.rand(parameter.shape, generator=self._generator)
                back = (drawn < self._settings.restored).to(parameter.device)
                parameter.copy_(torch.where(back, anchored[name], parameter))

    def ended(self, model: AdaptedModel) -> None:
        """The teacher with the norm statistics that it has looked with."""
        model.load_state_dict(self._teacher.state_dict())
