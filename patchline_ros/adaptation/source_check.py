"""Whether a candidate still knows what the source model knew, on frames that no message can write.

The frames that decide at the gate come with the labels of whoever labels. Where these are wrong
throughout, a model that has learnt them is better on them. The bundle's own labelled source frames
are not: what has learnt to call a road a pavement does so on them, too. A model of the night may be
worse on a clear picture, which is no fault. Its norm statistics are of the night then, so those of
the source are put back before it is asked. What is left of the fall is what its trained part has
unlearnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.adaptation.gate import Comparison, compare
from patchline_ros.adaptation.norm_statistics import with_norm_statistics_of
from patchline_ros.bundle import Bundle
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import TaskModel

LARGEST_FALL: Final = 0.2
"""Share of the source model's score on the bundle's frames that a candidate may lose, beside one
standard error. `python -m tools.judge_wrong_labels` measures what honest and wrong labels cost
(docs/security.md)."""


@dataclass(frozen=True)
class SourceFall:
    """The source model and a candidate on the bundle's frames.

    Attributes:
        comparison: of the source model, which runs there, with the candidate.
        frames: on which.
        gflops: that it took.
    """

    comparison: Comparison
    frames: int
    gflops: float

    @property
    def is_too_far(self) -> bool:
        """Whether more is lost than an honest adaptation loses."""
        source = self.comparison.running
        fall = source - self.comparison.candidate
        return fall > LARGEST_FALL * source + self.comparison.error

    def refusal(self, what: str) -> str:
        """Why the candidate, `what`, is refused; empty where it is not."""
        if not self.is_too_far:
            return ""
        return (
            f"on {self.frames} labelled source frames of the bundle {what} scores "
            f"{self.comparison.candidate:.3f}, the source model {self.comparison.running:.3f}: the "
            "labels of this drift contradict those of the source"
        )


@dataclass(frozen=True)
class SourceCheck:
    """The bundle's labelled source frames of a task, with its source model."""

    source: TaskModel
    frames: Sequence[Sample]

    @classmethod
    def of_bundle(cls, bundle: Bundle, source: TaskModel, task: Task) -> SourceCheck | None:
        """That of a task; None: the bundle keeps too few frames of it to say anything.

        Raises:
            BundleError: the frames can't be read.
        """
        frames = bundle.source_frames.get(task, [])
        return cls(source, frames) if len(frames) > 1 else None

    def fall(self, candidate: AdaptedModel) -> SourceFall:
        """What the candidate has unlearnt, in evaluation mode."""
        with FlopCounter() as flops:
            clear = with_norm_statistics_of(candidate, self.source)
            found = compare(self.source, clear, self.frames)
        return SourceFall(found, len(self.frames), flops.total / 1e9)
