"""What every head offers, and the entropies that heads measure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

from patchline_ros.tasks import Label
from patchline_ros.vision.backbone import GroupedBackbone


class Reading(NamedTuple):
    """What raw outputs say about each picture of a batch.

    Attributes:
        labels: as `decode` gives them.
        confidences: (B,) as `confidence` gives them.
        entropies: (B,) as `entropy` gives them.
    """

    labels: list[Label]
    confidences: Tensor
    entropies: Tensor


class Head(nn.Module):
    """A *body* that reads the taps, and a *tail*: the last layers, which give the raw outputs."""

    exclusive: ClassVar[bool] = True
    """Of the classes of an output one holds: they share a softmax."""
    takes_crops: ClassVar[bool] = False
    """The loss is also right for taps and targets of a part of the picture."""

    @abstractmethod
    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """What the tail reads, from the taps [stem, group 1, ..., group G]; batch first."""

    @abstractmethod
    def tail(self, features: list[Tensor]) -> Any:
        """Raw outputs from what the body gives."""

    @abstractmethod
    def last_layers(self) -> list[nn.Module]:
        """The layers of the tail that have weights: all that *FT-last* trains."""

    def forward(self, taps: list[Tensor]) -> Any:
        """Raw outputs from the taps."""
        return self.tail(self.body(taps))

    @abstractmethod
    def loss(self, raw: Any, targets: Any) -> Tensor:
        """Scalar training loss."""

    @abstractmethod
    def decode(self, raw: Any) -> list[Label]:
        """One plain result an image, in pixels of the model's input."""

    def read(self, raw: Any) -> Reading:
        """The results, and how sure they are."""
        return Reading(self.decode(raw), self.confidence(raw), self.entropy(raw))

    @abstractmethod
    def class_logits(self, raw: Any) -> Tensor:
        """(B, C, n) logits of the classes at each of an image's n outputs."""

    def entropies(self, raw: Any) -> Tensor:
        """(B, n) entropy in nats of each output, or (B, C * n) where the classes of an output are
        independent of each other.
        """
        logits = self.class_logits(raw)
        return softmax_entropy(logits) if self.exclusive else sigmoid_entropy(logits).flatten(1)

    def entropy(self, raw: Any) -> Tensor:
        """(B,) mean entropy of each image's outputs in nats (paper, section 4.3)."""
        return self.entropies(raw).mean(dim=1)

    def probabilities(self, raw: Any) -> Tensor:
        """(B, C, n) probability of each class at each output."""
        logits = self.class_logits(raw)
        return logits.softmax(dim=1) if self.exclusive else logits.sigmoid()

    def soft_loss(self, raw: Any, probabilities: Tensor) -> Tensor:
        """Scalar cross entropy with another model's probabilities (B, C, n)."""
        logits = self.class_logits(raw)
        if self.exclusive:
            return functional.cross_entropy(logits, probabilities)
        return functional.binary_cross_entropy_with_logits(logits, probabilities)

    @abstractmethod
    def confidence(self, raw: Any) -> Tensor:
        """(B,) probability of each image's result, in 0..1."""


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts; a head's raw outputs are such."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)


def nested_like(like: Any, tensors: Iterator[Tensor]) -> Any:
    """The same nesting as `like`, with other tensors, in the order of `tensors_in`."""
    if isinstance(like, Tensor):
        return next(tensors)
    if isinstance(like, dict):
        return {name: nested_like(value, tensors) for name, value in like.items()}
    if isinstance(like, tuple) and hasattr(like, "_fields"):
        return type(like)(*(nested_like(value, tensors) for value in like))
    if isinstance(like, (list, tuple)):
        return type(like)(nested_like(value, tensors) for value in like)
    return like


def softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats along dimension 1."""
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def sigmoid_entropy(logits: Tensor) -> Tensor:
    """Binary entropy in nats of each independent logit."""
    return -(
        logits.sigmoid() * functional.logsigmoid(logits)
        + (-logits).sigmoid() * functional.logsigmoid(-logits)
    )


class Pyramid(nn.Module):
    """A feature pyramid on the deepest tap of each of the given total strides."""

    def __init__(
        self,
        backbone: GroupedBackbone,
        reductions: tuple[int, ...],
        channels: int,
        extra_blocks: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.out_channels = channels
        self.levels = tuple(backbone.last_tap_at(reduction) for reduction in reductions)
        self.fpn = FeaturePyramidNetwork(
            [backbone.channels[level] for level in self.levels], channels, extra_blocks
        )

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """One map of `channels` channels a level, the finest first."""
        levels = {str(level): taps[level] for level in self.levels}
        return list(self.fpn(levels).values())
