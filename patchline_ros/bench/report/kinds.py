"""What kind of method a row is, as its own settings say; pages and figures go by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from patchline_ros.bench.experiment import Row
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.patched_model import PatchSettings


@dataclass(frozen=True)
class Traits:
    """How a kind of method is explained and drawn.

    Attributes:
        meaning: what such a method does, for a reader who knows none of them.
        colour: the same in every figure; from the palette of Okabe and Ito, whose colours most
            colour-blind readers can tell apart, with grey, brown and black.
        marker: so that no figure needs its colours to be understood.
    """

    meaning: str
    colour: str
    marker: str


class Kind(Enum):
    """Kinds of methods, in the order in which pages explain them."""

    SOURCE = Traits(
        "nothing is done: the network runs as it was before the pictures changed.",
        "#7f7f7f",
        "s",
    )
    FULL = Traits(
        "full fine-tuning: every weight of the network is trained on labelled pictures of the "
        "drift. It is what the others are measured against.",
        "#d55e00",
        "D",
    )
    NORM = Traits(
        "the means and variances that the network's normalisation layers hold are measured anew on "
        "pictures of the drift. Nothing is trained, and no label is used. Most methods below begin "
        "with this.",
        "#cc79a7",
        "v",
    )
    PARTIAL = Traits(
        "fine-tuning of a part of the weights, on labels.",
        "#7a4a1e",
        "P",
    )
    LADDER = Traits(
        "Ladder-Side-Tuning: a small second network beside the frozen one is trained, on labels.",
        "#009e73",
        "^",
    )
    PUBLISHED = Traits(
        "the method that this project began from: patches in the network itself are trained on "
        "labels.",
        "#000000",
        "X",
    )
    OURS = Traits(
        "this project's method: the patches stand beside the frozen network, whose intermediate "
        "results are computed once and kept. They are trained on labels together with the head, "
        "the network's last part; a *side head* stays frozen and has patches of its own.",
        "#0072b2",
        "o",
    )
    PREPARED = Traits(
        "our patches as they were trained before the car left, on source pictures under made "
        "weather. Nothing is trained on the road, and no label of it is used.",
        "#56b4e9",
        "o",
    )
    CAR = Traits(
        "what our car does without labels: a predictor, the *gate*, says how much norm statistics "
        "and prepared patches gain. The best of them runs where that is more than a margin and the "
        "gate's own error; elsewhere the source model stays.",
        "#0072b2",
        "*",
    )
    UNLABELLED = Traits(
        "methods of others that learn from pictures without labels.",
        "#e69f00",
        "h",
    )
    PREPARED_UNLABELLED = Traits(
        "training without labels that begins from our prepared patches.",
        "#56b4e9",
        "P",
    )
    PREPARED_LABELLED = Traits(
        "our patches, trained on labels of the road from the prepared ones on.",
        "#56b4e9",
        "d",
    )

    PREPARED_LADDER = Traits(
        "a ladder that was prepared as our patches are, and is trained on labels of the road.",
        "#009e73",
        "<",
    )

    @property
    def traits(self) -> Traits:
        """How it is explained and drawn."""
        return self.value


LABELLED = frozenset(
    {
        Kind.FULL,
        Kind.PARTIAL,
        Kind.LADDER,
        Kind.PUBLISHED,
        Kind.OURS,
        Kind.PREPARED_LABELLED,
        Kind.PREPARED_LADDER,
    }
)
"""Kinds that use labels of the drift."""

WITH_OUR_PATCHES = frozenset({Kind.OURS, Kind.PREPARED_LABELLED})


def kind_of(row: Row) -> Kind:
    """The kind of a row's method."""
    if row.label_free:
        return Kind.CAR
    if row.product:
        return Kind.OURS
    prepared = row.start == "prepared"
    if row.method is None:
        if prepared:
            return Kind.PREPARED
        return Kind.NORM if row.training.reestimate_norm else Kind.SOURCE
    if row.unlabelled is not None:
        return Kind.PREPARED_UNLABELLED if prepared else Kind.UNLABELLED
    if isinstance(row.method, PatchSettings):
        return Kind.PREPARED_LABELLED if prepared else _of_patches(row.method)
    if isinstance(row.method, LadderSettings):
        return Kind.PREPARED_LADDER if prepared else Kind.LADDER
    return _of_fine_tuning(row.method)


def _of_fine_tuning(method: FineTuneSettings) -> Kind:
    """Of its own, so that the type checker names this place where a method is new."""
    return Kind.FULL if method.method == "ft_full" else Kind.PARTIAL


def _of_patches(method: PatchSettings) -> Kind:
    """The paper trains patches in the network's pass, or detached from it, and nothing else."""
    published = method.wiring != "side" and method.head == "frozen"
    return Kind.PUBLISHED if published else Kind.OURS
