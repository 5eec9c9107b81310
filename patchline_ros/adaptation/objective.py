"""What a training minimises: the loss of labels, or one that needs none."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from patchline_ros.patching.adapted_model import AdaptedModel


class Objective:
    """Of one training of one model."""

    reads_labels: ClassVar[bool] = False
    """Whether the labels of the samples count; without, any label will do."""

    def loss(self, model: AdaptedModel, frozen: list[Tensor], targets: Any) -> Tensor:
        """Scalar loss of a batch, from its frozen part and its targets."""
        raise NotImplementedError

    def stepped(self, model: AdaptedModel) -> None:
        """The optimiser has made a step."""

    def ended(self, model: AdaptedModel) -> None:
        """The training is over, and the model's state is the one that is kept."""


class FromLabels(Objective):
    """The head's loss of the labels."""

    reads_labels = True

    def loss(self, model: AdaptedModel, frozen: list[Tensor], targets: Any) -> Tensor:
        """The head's own."""
        loss: Tensor = model.head.loss(model.trained_part(frozen), targets)
        return loss
