"""What answers a drift without labels: the candidate that is surely better than what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchline_ros.adaptation.gain_predictor import GainPredictor, PredictedGain
from patchline_ros.adaptation.label_free_candidates import Candidate, label_free_candidates
from patchline_ros.patching.expected import Expected, expectation
from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Image
from patchline_ros.vision.evaluation import Model
from patchline_ros.vision.evidence import Look, agreements, evidence
from patchline_ros.vision.model import TaskModel


@dataclass(frozen=True)
class LabelFreeAnswer:
    """The candidate that is predicted to be best.

    Attributes:
        candidate: the model.
        gain: how much better than what runs.
        accepted: whether that is surely more than the margin.
        expected: what is to be seen of it after a swap.
    """

    candidate: Candidate
    gain: PredictedGain
    accepted: bool
    expected: Expected


def label_free_answer(
    running: Model,
    source: TaskModel,
    prepared: PatchedModel,
    images: Sequence[Image],
    gate: GainPredictor,
    source_entropy: float,
    margin: float,
) -> LabelFreeAnswer:
    """Judges all candidates on pictures without labels; nothing is trained.

    Of those that are accepted the best one answers; where none is, the best of all.

    Args:
        running: the model that runs, in evaluation mode.
        source: the source model, likewise.
        prepared: the same with its prepared patches.
        images: of the road, two or more.
        gate: predicts gains, of this task.
        source_entropy: I_source, in nats.
        margin: by which it has to be better, in the task's metric, 0..1.
    """
    before = Look.at(running, images)
    answers = []
    for candidate in label_free_candidates(source, prepared, images):
        after = Look.at(candidate.model, images)
        gain = gate.predict(evidence(before, after, source_entropy))
        expected = expectation(agreements(before, after), after.found.entropies)
        answers.append(LabelFreeAnswer(candidate, gain, gain.accepted(margin), expected))
    return max(answers, key=lambda answer: answer.gain.rank(margin))
