"""What the label-free gate is fitted to: candidates on drifts whose labels are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patchline_ros.adaptation.label_free_candidates import label_free_candidates
from patchline_ros.adaptation.norm_statistics import norm_prior_of, with_norm_of
from patchline_ros.manifest import GatePoint
from patchline_ros.offline.preparation import PreparationSettings, frames_of_drift
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import Sample
from patchline_ros.vision.evidence import Look, evidence
from patchline_ros.vision.metrics import score
from patchline_ros.vision.model import TaskModel


def gate_points(
    source: TaskModel,
    prepared: AdaptedModel,
    held_out: Sequence[Sample],
    settings: PreparationSettings,
    source_entropy: float,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> list[GatePoint]:
    """Measures candidates against the source model, on held-out frames that nothing was trained on.

    Beside what a car tries, a candidate that no car should take is among them: the prepared patches
    under the norm statistics of another drift.

    Args:
        source: the source model, in evaluation mode.
        prepared: the same with its prepared patches.
        held_out: source samples.
        settings: how many frames, and under which drifts.
        source_entropy: I_source, in nats.
        seed: of the frames and of the drifts.
        progress: told the share that is done, 0..1.
    """
    method = settings.method_of(source)
    count = settings.held_out_frames_of(source.spec.task)
    drifts = settings.gate_drifts
    # Two places short of a round through the corruptions: another one, mostly more severe.
    away = max(1, len({name for name, _ in drifts}) - 2)
    points = []
    for place, drift in enumerate(drifts):
        samples = frames_of_drift(source, held_out, count, drift, "held_out", seed)
        strange = drifts[(place + away) % len(drifts)]
        others = frames_of_drift(source, held_out, count, strange, "held_out", seed)
        images = [sample.image for sample in samples]
        candidates = label_free_candidates(source, prepared, method, images)
        models: dict[str, AdaptedModel] = {each.name: each.model for each in candidates}
        of_another, _ = with_norm_of(
            prepared, [sample.image for sample in others], norm_prior_of(len(others))
        )
        models["prepared, norm of another drift"] = of_another
        before = Look.at(source, images)
        for name, model in models.items():
            after = Look.at(model, images)
            points.append(
                GatePoint(
                    corruption=drift[0],
                    severity=drift[1],
                    candidate=name,
                    evidence=evidence(before, after, source_entropy),
                    before=_metric(source, before, samples),
                    after=_metric(source, after, samples),
                )
            )
        progress((place + 1) / len(drifts))
    return points


def _metric(source: TaskModel, look: Look, samples: Sequence[Sample]) -> float:
    spec, truth = source.spec, [sample.label for sample in samples]
    return score(spec.task, len(spec.classes), look.found.labels, truth)
