"""What may answer a drift without labels: norm statistics, prepared patches, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.adaptation.norm_statistics import moved_norm, norm_prior_of
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.tasks import Image
from patchline_ros.vision.model import TaskModel

_NORM: Final = "norm statistics"
_PATCHES: Final = "prepared, source norm"
_BOTH: Final = "prepared"
EARLIER: Final = "earlier drift"
"""The patch set that ran at the end of a drift that this one is like."""
CANDIDATES: Final = (_NORM, _PATCHES, _BOTH)
"""What a car tries: names for people and files."""


@dataclass(frozen=True)
class Candidate:
    """A model that may take the place of what runs.

    Attributes:
        name: one of CANDIDATES, or EARLIER.
        model: in evaluation mode.
        norm: whose norm statistics it has: the source's, or those of pictures of the road.
    """

    name: str
    model: AdaptedModel
    norm: NormPolicy


def label_free_candidates(
    source: TaskModel, prepared: AdaptedModel, method: MethodSettings, images: Sequence[Image]
) -> list[Candidate]:
    """Norm statistics of the pictures alone, the prepared patches alone, and both.

    Re-estimated statistics help most models in most drifts, and hurt some. Patches do the most
    where they were prepared for the drift. Which is best the gate decides for each drift.

    Args:
        source: the source model.
        prepared: the same with its prepared patches.
        method: of these.
        images: of the road, two or more.
    """
    prior = norm_prior_of(len(images))
    # Fresh patches add nothing: the source model, in the same form as all else that a car swaps.
    fresh = adapted(source, method)
    # Not counted: what counts FLOPs takes seconds to import, for which the answer would wait.
    return [
        Candidate(_NORM, moved_norm(fresh, images, prior), "reestimated"),
        Candidate(_PATCHES, prepared, "source"),
        Candidate(_BOTH, moved_norm(prepared, images, prior), "reestimated"),
    ]
