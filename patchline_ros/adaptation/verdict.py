"""Whether what was trained, or kept of an earlier drift, takes the place of what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from patchline_ros.adaptation.episode_report import GateScores
from patchline_ros.adaptation.gate import Comparison, EarlierGain, compare
from patchline_ros.adaptation.source_check import SourceCheck, SourceFall
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.patch_set import (
    PatchSetError,
    PatchSetMetadata,
    apply,
    read_metadata,
    tensors_sha256,
)
from patchline_ros.tasks import Sample
from patchline_ros.vision.evaluation import Model
from patchline_ros.vision.model import TaskModel

_EARLIER: Final = "the model of an earlier drift"


@dataclass(frozen=True)
class Running:
    """The model that runs now."""

    model: Any
    sha256: str = ""
    """`PatchSetMetadata.sha256` of its patch set; empty for the source model."""

    @classmethod
    def of(cls, source: TaskModel, base_fingerprint: str, patch_set: bytes | None) -> Running:
        """The source model, or that with its active patch set.

        Raises:
            PatchSetError: the patch set can't be used.
        """
        if patch_set is None:
            return cls(source)
        return cls(apply(source, base_fingerprint, patch_set), tensors_sha256(patch_set))

    def compared(self, candidate: Model, samples: Sequence[Sample]) -> Comparison:
        """`compare` with this model; what is expected of the candidate says so."""
        found = compare(self.model, candidate, samples)
        expected = found.expected.model_copy(update={"ran": self.sha256})
        return replace(found, expected=expected)


@dataclass(frozen=True)
class Verdict:
    """What a gate decided.

    Attributes:
        accepted: the candidate takes the place of what runs.
        reason: why not; empty where it does.
        comparison: of the two; None where they were not compared.
        fall: what the candidate has unlearnt of the source; None where nobody looked.
    """

    accepted: bool
    reason: str = ""
    comparison: Comparison | None = None
    fall: SourceFall | None = None


def judged(
    running: Running,
    candidate: AdaptedModel | TaskModel,
    samples: Sequence[Sample],
    margin: float,
    what: str,
    earlier: EarlierGain | None = None,
    check: SourceCheck | None = None,
) -> Verdict:
    """Compares a candidate with the running model, both in evaluation mode.

    What is better on the frames of the drift must also still know the source.

    Args:
        running: the model that runs.
        candidate: the model that may take its place.
        samples: two or more labelled frames that neither was fitted to.
        margin: by which the candidate has to be better.
        what: the candidate is, for the reason.
        earlier: what the same comparison gave on frames of an earlier visit to the drift.
        check: asks an adapted candidate about the source; None: nobody does.
    """
    found = running.compared(candidate, samples)
    if earlier.holds(found, len(samples), margin) if earlier else found.accepted(margin):
        if check is None or not isinstance(candidate, AdaptedModel):
            return Verdict(True, comparison=found)
        fall = check.fall(candidate)
        return Verdict(not fall.is_too_far, fall.refusal(what), found, fall)
    reason = (
        f"on {len(samples)} labelled frames {what} scores {found.candidate:.3f}, the running one "
        f"{found.running:.3f} (± {found.error:.3f} between them)"
    )
    return Verdict(False, reason, found)


@dataclass(frozen=True)
class Verification:
    """What became of the patch set of an earlier drift.

    Attributes:
        verdict: whether it takes the place of what runs.
        runs: it runs already, and so holds without a comparison.
        model: the source model with it; None where they were not compared.
    """

    verdict: Verdict
    runs: bool = False
    model: AdaptedModel | None = None


def verified(
    source: TaskModel,
    base_fingerprint: str,
    running: Running,
    patch_set: bytes,
    samples: Sequence[Sample],
    margin: float,
    check: SourceCheck | None = None,
) -> Verification:
    """Judges the patch set of an earlier drift on labelled frames of this one.

    The frames on which its own gate decided then count, too, where the same model runs.

    Args:
        source: the source model.
        base_fingerprint: of the source model.
        running: the model that runs.
        patch_set: bytes of the patch set.
        samples: labelled frames; fewer than the task's `verification_frames` verify nothing.
        margin: by which it has to be better.
        check: asks about the source; None: nobody does.
    """
    if running.sha256 == tensors_sha256(patch_set):
        reason = "the patch set of the earlier drift runs already, and holds"
        return Verification(Verdict(False, reason), runs=True)
    least = source.spec.task.traits.verification_frames
    if len(samples) < least:
        reason = (
            f"{len(samples)} labelled frames are left to verify the patch set of the earlier drift "
            f"on; it needs {least}"
        )
        return Verification(Verdict(False, reason))
    try:
        model = apply(source, base_fingerprint, patch_set)
    except PatchSetError as error:
        reason = f"the patch set of the earlier drift can't be used: {error}"
        return Verification(Verdict(False, reason))
    earlier = _gain_of_then(read_metadata(patch_set), running)
    verdict = judged(running, model, samples, margin, _EARLIER, earlier, check)
    return Verification(verdict, model=model)


def _gain_of_then(metadata: PatchSetMetadata, running: Running) -> EarlierGain | None:
    """What its gate found; None: it compared with another model, or labels did not decide."""
    if metadata.expected is None or metadata.expected.ran != running.sha256:
        return None
    try:
        scores = GateScores.model_validate(metadata.metrics)
    except ValidationError:
        return None
    return EarlierGain(scores.after - scores.before, scores.error, scores.frames)
