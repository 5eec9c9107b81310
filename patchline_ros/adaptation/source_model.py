"""What an adaptation starts from: a source model, and what was prepared for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.bundle import Bundle
from patchline_ros.patching.patch_set import apply
from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import TaskModel


@dataclass(frozen=True)
class PreparedModel:
    """What was prepared for a model before the car left.

    Attributes:
        model: the source model with patches and head that were trained on made drifts, and with
            the source's norm statistics; it is left untouched.
        gate: predicts without labels how much better it is.
    """

    model: PatchedModel
    gate: GainPredictor


@dataclass(frozen=True)
class SourceModel:
    """What an adaptation starts from.

    Attributes:
        model: in evaluation mode; it is left untouched.
        entropy: I_source, mean entropy of its outputs on held-out source data, in nats.
        prepared: what was prepared for it before the car left; None: nothing.
        frames: labelled samples of the source domain that came along; a car has none.
    """

    model: TaskModel
    entropy: float
    prepared: PreparedModel | None = None
    frames: Sequence[Sample] = ()

    @classmethod
    def of_bundle(cls, bundle: Bundle, task: Task) -> SourceModel:
        """A bundle's model, with what the bundle has prepared for it.

        Raises:
            BundleError: the bundle has no such model.
            PatchSetError: its prepared patches are of another model.
        """
        model, entropy = bundle.model(task), bundle.manifest.models[task].source_entropy
        entry = bundle.manifest.prepared.get(task)
        if entry is None:
            return cls(model, entropy)
        prepared = apply(model, bundle.fingerprint(task), bundle.prepared(task))
        assert isinstance(prepared, PatchedModel)
        return cls(model, entropy, PreparedModel(prepared, GainPredictor(entry.gate)))
