"""What answers a drift without labels: the prepared patches, if they are surely better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchline_ros.adaptation.gain_predictor import GainPredictor, PredictedGain
from patchline_ros.adaptation.label_free_candidates import Candidate, label_free_candidates
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.expected import Expected, expectation
from patchline_ros.tasks import Image
from patchline_ros.vision.evaluation import Model
from patchline_ros.vision.evidence import Look, agreements, evidence


@dataclass(frozen=True)
class LabelFreeAnswer:
    """The candidate that is predicted to be best.

    Attributes:
        candidate: the model.
        gain: how much better than what runs.
        expected: what is to be seen of it after a swap.
    """

    candidate: Candidate
    gain: PredictedGain
    expected: Expected


def label_free_answer(
    running: Model,
    prepared: AdaptedModel,
    images: Sequence[Image],
    gate: GainPredictor,
    source_entropy: float,
) -> LabelFreeAnswer:
    """Judges all candidates on pictures without labels; nothing is trained.

    Args:
        running: the model that runs, in evaluation mode.
        prepared: the source model with its prepared patches, likewise.
        images: of the road, two or more.
        gate: predicts gains, of this task.
        source_entropy: I_source, in nats.
    """
    before = Look.at(running, images)
    answers = []
    for candidate in label_free_candidates(prepared, images):
        after = Look.at(candidate.model, images)
        gain = gate.predict(evidence(before, after, source_entropy))
        expected = expectation(agreements(before, after), after.found.entropies)
        answers.append(LabelFreeAnswer(candidate, gain, expected))
    return max(answers, key=lambda answer: answer.gain.gain)
