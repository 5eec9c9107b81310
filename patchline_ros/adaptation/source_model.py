"""What an adaptation starts from: a source model, and what was prepared for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.bundle import Bundle
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.patching.patch_set import apply, read_metadata
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import TaskModel


@dataclass(frozen=True)
class PreparedModel:
    """What was prepared for a model before the car left.

    Attributes:
        model: the source model with patches and head that were trained on made drifts, and with
            the source's norm statistics; it is left untouched.
        method: of the patches.
        gate: predicts without labels how much better it is.
    """

    model: AdaptedModel
    method: MethodSettings
    gate: GainPredictor

    @classmethod
    def of_patch_set(
        cls, source: TaskModel, base_fingerprint: str, data: bytes, gate: GainPredictor
    ) -> PreparedModel:
        """Of a file of prepared patches.

        Raises:
            PatchSetError: they are of another model, or damaged.
        """
        model = apply(source, base_fingerprint, data)
        return cls(model, read_metadata(data).method, gate)


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
        prepared = PreparedModel.of_patch_set(
            model, bundle.fingerprint(task), bundle.prepared(task), GainPredictor(entry.gate)
        )
        return cls(model, entropy, prepared)
