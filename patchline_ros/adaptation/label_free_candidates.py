"""What may answer a drift without labels: the prepared patches, under either norm statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.adaptation.norm_statistics import moved_norm, norm_prior_of
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.tasks import Image

CANDIDATES: Final[dict[NormPolicy, str]] = {
    "source": "prepared, source norm",
    "reestimated": "prepared",
}
"""What a car tries, by whose norm statistics it has: names for people and files."""


@dataclass(frozen=True)
class Candidate:
    """A model that may take the place of what runs.

    Attributes:
        model: in evaluation mode.
        norm: whose norm statistics it has: the source's, or those of the pictures.
    """

    model: AdaptedModel
    norm: NormPolicy

    @property
    def name(self) -> str:
        """What it is."""
        return CANDIDATES[self.norm]


def label_free_candidates(prepared: AdaptedModel, images: Sequence[Image]) -> list[Candidate]:
    """The prepared patches with the source's norm statistics, and with those of the pictures.

    Re-estimated statistics help most models in most drifts, and hurt some: which of the two is
    better the gate decides for each drift.

    Args:
        prepared: the source model with its prepared patches.
        images: of the road, two or more.
    """
    # Not counted: what counts FLOPs takes seconds to import, for which the answer would wait.
    moved = moved_norm(prepared, images, norm_prior_of(len(images)))
    return [Candidate(prepared, "source"), Candidate(moved, "reestimated")]
