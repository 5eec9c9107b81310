"""Which labelled frames of a task are trained on, and which are held out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from patchline_ros.adaptation.predictor import evenly
from patchline_ros.adaptation.selection import LEAST_KEPT, entropies, uncertain
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.tasks import Image, Sample

HOLD_OUT_EVERY: Final = 5
"""Each fifth labelled frame is not trained on: it chooses the epoch and decides at the gate."""
LEAST_HELD_OUT: Final = 2
"""Frames that the gate needs, since a standard error does."""
LEAST_FRAMES: Final = LEAST_HELD_OUT * HOLD_OUT_EVERY
"""Labelled frames of a task that a training on a car takes."""

FILTER_ABOVE: Final = 128
"""Training frames of a task up to which all are used. The entropy filter saves little time on so
few, and on the few dozen of `camvid-dusk` it cost 3 points of mAP (docs/results, experiment
camvid-dusk-ablations). From where on it pays was not measured: no task of the benchmark has that
many frames."""

EntropyFilter = Literal["none", "paper", "half", "half_of_many"]
"""`paper`: frames with H >= I_source only. `half`: at least the more uncertain half, too.
`half_of_many`: the same, but all frames where they are no more than FILTER_ABOVE."""
_LEAST_SHARE: Final[dict[EntropyFilter, float]] = {
    "paper": 0.0,
    "half": LEAST_KEPT,
    "half_of_many": LEAST_KEPT,
}


@dataclass(frozen=True)
class ChosenFrames:
    """One task's frames of a drift, in the order of time.

    Attributes:
        scene: pictures of all of them: their norm statistics are taken, which needs no label.
        labelled: those that came with a label.
        collected: those that are not held out.
        train: of these, what the entropy filter leaves.
        held_out: choose the epoch.
        selection_gflops: what the entropies cost.
        seconds: that the choice took.
        nothing_left: why the entropy filter leaves no frame; empty where it leaves some.
    """

    scene: list[Image]
    labelled: list[Sample]
    collected: list[Sample]
    train: list[Sample]
    held_out: list[Sample]
    selection_gflops: float = 0.0
    seconds: float = 0.0
    nothing_left: str = ""


def choose_frames(
    source: SourceModel,
    frames: Sequence[Sample],
    entropy_filter: EntropyFilter,
    hold_out_every: int | None,
    most_labelled: int | None = None,
) -> ChosenFrames:
    """Holds each so-manieth frame out, and leaves out what the entropy filter does not want.

    Args:
        source: the model whose entropies are taken.
        frames: in the order of time.
        entropy_filter: see `EntropyFilter`.
        hold_out_every: None: no frame is held out; nor is one of fewer than LEAST_FRAMES where
            `most_labelled` leaves no more.
        most_labelled: of so many frames, evenly spread, the labels are used; None: of all.

    Raises:
        ValueError: the filter has no frame to choose from.
    """
    started = time.monotonic()
    labelled, every = list(frames), hold_out_every
    if most_labelled is not None:
        labelled = [frames[place] for place in evenly(len(frames), most_labelled)]
        every = hold_out_every if len(labelled) >= LEAST_FRAMES else None
    held_out = list(labelled[every - 1 :: every]) if every else []
    collected = [s for i, s in enumerate(labelled) if not every or (i + 1) % every]
    few = entropy_filter == "half_of_many" and len(collected) <= FILTER_ABOVE
    kept, gflops, reason = collected, 0.0, ""
    if entropy_filter != "none" and not few:
        with FlopCounter() as flops:
            values = entropies(source.model, collected)
        gflops = flops.total / 1e9
        try:
            places = uncertain(values, source.entropy, _LEAST_SHARE[entropy_filter])
        except ValueError as error:
            places, reason = [], str(error)
        kept = [collected[i] for i in places]
    seconds = time.monotonic() - started
    scene = [frame.image for frame in frames]
    return ChosenFrames(scene, labelled, collected, kept, held_out, gflops, seconds, reason)
