"""How many patches a drift needs, told from its frames by a learnt predictor.

A learnt predictor is a *reader*, which turns each frame into numbers, and a small classifier of
those with one output a number of patches, 0 to G. Every frame carries its set's number as label;
for a set, the mean of its frames' logits decides.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from patchline_ros.drift.kernels import Features
from patchline_ros.manifest import LearntKind
from patchline_ros.tasks import Image

FARTHEST: Final = 5.0
"""Deviations at which a standardised input is cut off, so that a drift unlike all that were learnt
from can't drive the logits anywhere."""


@dataclass(frozen=True)
class DriftedSet:
    """What is known of some frames of one drift, labelled or not.

    Attributes:
        images: n pictures, n >= 2.
        features: (n, d) pooled features of all taps of the watched source model, as
            `tap_features` gives them; d is 0 for a reader that reads pictures only.
        mmd2: MMD^2 from the source, as the drift monitor measures it, on one tap.

    Raises:
        ValueError: fewer than two pictures, features of another number of them, or numbers that
            are not finite.
    """

    images: Sequence[Image]
    features: Features
    mmd2: float

    def __post_init__(self) -> None:
        """Checks that there is something to tell the drift from."""
        if len(self.images) < 2:
            raise ValueError(f"a drift is told from at least 2 frames; {len(self.images)} came")
        if self.features.ndim != 2 or len(self.features) != len(self.images):
            raise ValueError(
                f"the features have the shape {self.features.shape}; they must be one row for "
                f"each of {len(self.images)} frames"
            )
        bad = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
        if bad.size:
            raise ValueError(
                f"the features of {bad.size} of {len(self.images)} frames are not finite, first "
                f"of frame {bad[0]}; leave such frames out"
            )
        if not math.isfinite(self.mmd2):
            raise ValueError(f"the MMD^2 of the set is {self.mmd2}; measure it again")


class Reader(nn.Module):
    """Turns frames into the numbers that a classifier reads; it is not trained.

    Attributes:
        kind: what predictors with this reader are called.
        width: how many numbers a frame gives.
        share: of a set's frames that a prediction reads.
        hidden: widths of the hidden layers of the classifier that goes with it.
    """

    kind: ClassVar[LearntKind]
    width: int
    share: float
    hidden: tuple[int, ...]

    @abstractmethod
    def read(self, drifted: DriftedSet, rows: Sequence[int]) -> Tensor:
        """(len(rows), width) numbers of some of the set's frames."""


class Classifier(nn.Module):
    """Standardises its inputs and maps them to logits; without hidden layers a linear one."""

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        widths = [inputs, *hidden]
        layers: list[nn.Module] = []
        for below, above in pairwise(widths):
            layers += [nn.Linear(below, above), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    @property
    def outputs(self) -> int:
        """Number of classes, 0 to G patches."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last.out_features

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, inputs) to logits (B, outputs)."""
        standardised = ((numbers - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)
        logits: Tensor = self.layers(standardised)
        return logits


class NetworkPredictor(nn.Module):
    """A reader and the classifier that was trained on what it reads."""

    def __init__(self, reader: Reader, classifier: Classifier) -> None:
        super().__init__()
        self.reader = reader
        self.classifier = classifier

    def predict(self, drifted: DriftedSet) -> int:
        """Highest of the mean logits over the share of the frames that the reader reads."""
        with torch.no_grad():
            logits = self.classifier(self.reader.read(drifted, self.rows(drifted)))
        return int(logits.mean(dim=0).argmax())

    def rows(self, drifted: DriftedSet) -> list[int]:
        """The frames that are read, evenly over the set."""
        count = len(drifted.images)
        return evenly(count, math.ceil(self.reader.share * count))


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the places 0 to count - 1, in order and evenly over all of them."""
    return [int(place) for place in np.linspace(0, count - 1, min(count, most))]
