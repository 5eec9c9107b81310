"""What answers a drift without labels: the candidate that is surely better than what runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from patchline_ros.adaptation.gain_predictor import GainPredictor, PredictedGain
from patchline_ros.adaptation.gate import jackknife_error, without_each_block
from patchline_ros.adaptation.label_free_candidates import Candidate, label_free_candidates
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.patching.expected import Expected, expectation
from patchline_ros.tasks import Image, Task
from patchline_ros.vision.evaluation import Model
from patchline_ros.vision.evidence import Look, Seen


@dataclass(frozen=True)
class LabelFreeAnswer:
    """The candidate that is predicted to be best.

    Attributes:
        candidate: the model.
        gain: how much better than what runs.
        accepted: whether it takes the place of what runs.
        expected: what is to be seen of it after a swap.
    """

    candidate: Candidate
    gain: PredictedGain
    accepted: bool
    expected: Expected


def label_free_answer(
    running: Model,
    source: SourceModel,
    images: Sequence[Image],
    margin: float,
    earlier: Candidate | None = None,
) -> LabelFreeAnswer:
    """Judges candidates on pictures without labels; nothing is trained.

    What answered an earlier drift that this one is like was surely better once: it answers again
    where it is predicted to be better at all. So a weather that returns finds what it left,
    whichever pictures tell of it. Of the others that are surely better the best one answers; where
    none is, the best of all.

    Args:
        running: the model that runs, in evaluation mode.
        source: with what was prepared for it.
        images: of the road, two or more.
        margin: by which it has to be better, in the task's metric, 0..1.
        earlier: the model of the drift that this one is like; None: it is like none.

    Raises:
        ValueError: nothing was prepared.
    """
    prepared, task = source.prepared, source.model.spec.task
    if prepared is None:
        raise ValueError(f"there are no prepared patches for {task}")
    gate = prepared.gate
    before = Look.at(running, images)

    def judged(candidate: Candidate) -> LabelFreeAnswer:
        after = Look.at(candidate.model, images)
        seen = Seen.of(before, after, source.entropy)
        gain = _predicted(gate, seen, task)
        expected = expectation(seen.agreements, after.found.entropies)
        return LabelFreeAnswer(candidate, gain, gain.accepted(margin), expected)

    if earlier is not None:
        again = judged(earlier)
        if again.gain.gain > margin:
            return replace(again, accepted=True)
    candidates = label_free_candidates(source.model, prepared.model, prepared.method, images)
    answers = [judged(each) for each in candidates]
    return max(answers, key=lambda answer: answer.gain.rank(margin))


def _predicted(gate: GainPredictor, seen: Seen, task: Task) -> PredictedGain:
    """The gain, with an error that also says how few pictures it rests on.

    The gate's own error is that of predictions from a dozen pictures, as many as a car asks it
    about, unless a picture has one label: then it was fitted to many more (`PreparationSettings`).
    Of another dozen signs the same gate would say something else.
    """
    found = gate.predict(seen.evidence())
    if not task.traits.one_label:
        return found
    parts = [
        gate.predict(seen.evidence(rest)).gain for rest in without_each_block(len(seen.agreements))
    ]
    error = math.hypot(found.error, jackknife_error(parts))
    return found.model_copy(update={"error": error})
