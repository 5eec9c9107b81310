"""Whether the adapter needs labels now, as the person who labels is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from patchline_ros.messages.loop_state import LoopState

_BUSY: Final = {
    LoopState.TRAINING: "The adapter trains: a label of now comes too late for this drift.",
    LoopState.VERIFYING: "The adapter verifies the patch sets of a known drift. A label of now "
    "counts if they do not hold.",
    LoopState.ANSWERING: "The adapter answers by pictures without labels first. A label of now "
    "counts for the training after it.",
}


@dataclass(frozen=True)
class DriftWord:
    """What the drift monitor said last. `since_ns`: the drift's first stamp, 0 without one."""

    drifting: bool
    since_ns: int
    times: float
    """MMD² as a multiple of its threshold."""


@dataclass(frozen=True)
class AdapterWord:
    """What the adapter said last. `collected` are labelled frames of the drift, of all tasks."""

    state: LoopState
    collected: int
    reason: str = ""


@dataclass(frozen=True)
class LabelNeed:
    """What was heard of drift and adapter; None where nothing was yet.

    Attributes:
        drift: of the monitor.
        adapter: of the adapter.
        least_frames: labelled frames that each labelled task needs for a training.
        unused: whether the adapter trains on no labels at all.
    """

    drift: DriftWord | None = None
    adapter: AdapterWord | None = None
    least_frames: int | None = None
    unused: bool = False

    @property
    def collecting(self) -> bool:
        """Whether a label counts at once."""
        return self.adapter is not None and self.adapter.state is LoopState.COLLECTING

    def sentence(self) -> tuple[str, str, str]:
        """The look of the line (as the style has it), a word, and what it means for labels."""
        if self.adapter is None:
            return "bad", "No adapter", "It has said nothing: a label would reach nobody."
        if self.unused:
            return "bad", "Not needed", "The adapter is set to train on no labels (labels: none)."
        if self.drift is None:
            return "bad", "No drift reading", "The drift monitor has said nothing yet."
        if not self.drift.since_ns:
            words = "A label of now is kept, but a training takes frames from since a drift began."
            return "source", "No drift", words
        return self._in_a_drift(self.adapter, self.drift)

    def _in_a_drift(self, adapter: AdapterWord, drift: DriftWord) -> tuple[str, str, str]:
        if adapter.state is LoopState.COLLECTING:
            count = f"{adapter.collected} labelled frame{'s' if adapter.collected != 1 else ''}"
            least = "enough" if self.least_frames is None else str(self.least_frames)
            words = f"{count} so far. A training begins once each task with labels has {least}."
            return "drift", "Labels are needed", words
        if adapter.state in _BUSY:
            return "drift", "Adapting", _BUSY[adapter.state]
        if adapter.state is LoopState.FAILED:
            return "bad", "The training failed", f"{adapter.reason}. Labels help the next one."
        if adapter.state is LoopState.FINISHED:
            words = "The adapter is done with this drift. A label of now is kept for the next."
            return "adapted", "Adapted", words
        words = f"MMD² is {drift.times:.1f} of its threshold; the adapter collects no labels."
        return "source", "Not needed now", words
