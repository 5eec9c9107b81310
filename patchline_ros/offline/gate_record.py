"""How a label-free gate does on drifts whose corruption it was fitted without."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.label_free_candidates import CANDIDATES
from patchline_ros.manifest import PreparedEntry


@dataclass(frozen=True)
class Answer:
    """What a car would do in one drift.

    Attributes:
        accepted: whether a candidate takes the place of the source model.
        gain: how much better what runs then is, in the task's metric, 0..1; 0 where none is taken.
        most: how much better the best candidate is; 0 where none is.
    """

    accepted: bool
    gain: float
    most: float


@dataclass(frozen=True)
class GateRecord:
    """Of one task.

    Attributes:
        answers: one for each drift.
        error: root of the mean squared error of the predictions.
    """

    answers: list[Answer]
    error: float

    @classmethod
    def of_entry(cls, entry: PreparedEntry) -> GateRecord:
        """Each drift is answered by a gate that was fitted to the other corruptions.

        It sees as many pictures as a point has. A car asks about fewer signs, and is less sure.
        """
        gate = GainPredictor(entry.gate)
        tried: dict[tuple[str, float], list[tuple[tuple[bool, float], float]]] = {}
        for point, predicted, true in zip(
            entry.gate, gate.held_out_gains, gate.true.tolist(), strict=True
        ):
            if point.candidate in CANDIDATES:
                drift = point.corruption, point.severity
                tried.setdefault(drift, []).append((predicted.rank(MARGIN), true))
        answers = []
        for candidates in tried.values():
            (accepted, _), true = max(candidates, key=itemgetter(0))
            most = max(0.0, *(gain for _, gain in candidates))
            answers.append(Answer(accepted, true if accepted else 0.0, most))
        return cls(answers, gate.held_out_error)

    @property
    def words(self) -> str:
        """The same as part of a sentence."""
        taken = [answer for answer in self.answers if answer.accepted]
        worse = sum(answer.gain < 0 for answer in taken)
        won, most = (
            100 * sum(getattr(answer, name) for answer in self.answers) / len(self.answers)
            for name in ("gain", "most")
        )
        return (
            f"on {len(self.answers)} drifts whose corruption it was fitted without the label-free "
            f"gate is {100 * self.error:.1f} points off and takes an answer on {len(taken)}, "
            f"{worse} of them worse than the source model; it wins {won:.1f} of {most:.1f} points"
        )
