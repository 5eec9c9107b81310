"""The label-free gate: what is seen of two models, and the gain that is predicted from it."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_bundle
import torch

from patchline_ros.adaptation.gain_predictor import GainPredictor, PredictedGain
from patchline_ros.adaptation.label_free_candidates import CANDIDATES
from patchline_ros.manifest import GatePoint, PreparedEntry
from patchline_ros.offline.gate_record import GateRecord
from patchline_ros.tasks import Task
from patchline_ros.vision.evidence import Evidence, Look, agreements, evidence
from patchline_ros.vision.model import TaskModel

CORRUPTIONS = ("fog", "night", "rain", "snow")


def seen(rng: np.random.Generator) -> Evidence:
    names = Evidence.model_fields
    return Evidence(**dict(zip(names, rng.uniform(0.1, 0.9, len(names)), strict=True)))


def true_gain(of: Evidence) -> float:
    """What is made up here: a steadier and surer model is better, as far as it differs."""
    steadier = of.steadiness_after - of.steadiness_before
    surer = of.confidence_after - of.confidence_before
    return (1 - of.agreement) * (0.4 * steadier + 0.2 * surer + 0.1)


def points(noise: float = 0.0) -> list[GatePoint]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(80):
        of = seen(rng)
        gain = true_gain(of) + noise * rng.normal()
        made.append(
            GatePoint(
                corruption=CORRUPTIONS[number % 4],
                severity=0.5,
                candidate="prepared",
                evidence=of,
                before=0.5,
                after=0.5 + gain,
            )
        )
    return made


def test_a_gain_that_follows_what_is_seen_is_found_again() -> None:
    gate, rng = GainPredictor(points()), np.random.default_rng(1)
    for _ in range(20):
        of = seen(rng)
        predicted = gate.predict(of)
        assert predicted.gain == pytest.approx(true_gain(of), abs=0.02)
        assert predicted.error < 0.05


def test_the_error_is_that_of_points_that_it_was_not_fitted_to() -> None:
    noisy = points(noise=0.1)
    gate = GainPredictor(noisy)
    gains = np.array([point.after - point.before for point in noisy])
    typical = seen(np.random.default_rng(2)).model_copy(update={"agreement": 0.5})
    measured = float(np.sqrt(np.mean((gate.held_out - gains) ** 2)))
    assert gate.predict(typical).error == pytest.approx(measured, rel=0.5)
    assert GainPredictor(points()).predict(typical).error < measured / 3


def test_a_corruption_that_is_unlike_the_others_is_judged_by_the_others() -> None:
    made = [
        point.model_copy(update={"after": point.after + 0.4 * (1 - point.evidence.agreement)})
        if point.corruption == "snow"
        else point
        for point in points()
    ]
    gate = GainPredictor(made)
    for point, held_out in zip(made, gate.held_out, strict=True):
        if point.corruption == "snow":
            assert held_out == pytest.approx(true_gain(point.evidence), abs=0.03)


def test_models_that_agree_are_equally_good_whatever_else_is_seen() -> None:
    gate = GainPredictor(points())
    alike = seen(np.random.default_rng(3)).model_copy(update={"agreement": 1.0})
    found = gate.predict(alike)
    assert found.gain == 0.0 and not found.accepted(margin=0.0)


def test_only_what_is_surely_better_is_accepted() -> None:
    assert PredictedGain(gain=0.05, error=0.02).accepted(margin=0.02)
    assert not PredictedGain(gain=0.05, error=0.04).accepted(margin=0.02)


def test_a_higher_gain_that_is_not_sure_does_not_hide_a_sure_one() -> None:
    sure, more = PredictedGain(gain=0.05, error=0.01), PredictedGain(gain=0.2, error=0.3)
    assert max([more, sure], key=lambda gain: gain.rank(0.01)) is sure
    assert max([more, sure], key=lambda gain: gain.rank(0.1)) is more


def test_the_record_is_what_a_car_would_do_in_each_drift() -> None:
    """Of two candidates a drift; in snow what is seen misleads."""
    made = []
    for number, point in enumerate(points()):
        gain = point.after - point.before
        facts = {
            "severity": number // 8 / 10,
            "candidate": CANDIDATES[number // 4 % 2],
            "after": point.before + (-gain if point.corruption == "snow" else gain),
        }
        made.append(point.model_copy(update=facts))
    entry = PreparedEntry(
        drifts=[("fog", 0.5)], source_metric=0.5, prepared_metric=0.6, gflops=1.0, gate=made
    )
    record = GateRecord.of_entry(entry)
    assert len(record.answers) == 40
    assert all(answer.gain <= answer.most for answer in record.answers)
    assert all(answer.accepted or answer.gain == 0.0 for answer in record.answers)
    worse = [answer for answer in record.answers if answer.gain < 0]
    assert 0 < len(worse) <= 10, "only in snow"
    assert f"{len(worse)} of them worse than the source model" in record.words
    strange = [point.model_copy(update={"candidate": "norm of another drift"}) for point in made]
    others = entry.model_copy(update={"gate": [*made, *strange]})
    assert len(GateRecord.of_entry(others).answers) == 40, "what no car tries is not among them"


def test_one_corruption_can_not_say_how_wrong_it_is() -> None:
    of_fog = [point for point in points() if point.corruption == "fog"]
    with pytest.raises(ValueError, match="two corruptions or more; the points are of fog"):
        GainPredictor(of_fog)


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.SEGMENTATION])
def test_what_is_seen_of_a_model_beside_itself_and_beside_another(task: Task) -> None:
    torch.manual_seed(0)
    one, other = (TaskModel(tiny_bundle.spec_of(task)).eval() for _ in range(2))
    pictures = [tiny_bundle.picture(seed) for seed in range(6)]
    first, second = Look.at(one, pictures), Look.at(other, pictures)
    assert agreements(first, first) == [1.0] * 6
    itself = evidence(first, first, source_entropy=0.5)
    assert itself.agreement == 1.0
    assert itself.steadiness_before == itself.steadiness_after
    beside = evidence(first, second, source_entropy=0.5)
    assert beside.agreement < 1.0
    assert beside.entropy_after == pytest.approx(
        np.log(np.mean(second.found.entropies) / 0.5), abs=1e-6
    )


def test_a_model_that_sees_no_difference_in_a_mirror_is_steady() -> None:
    torch.manual_seed(0)
    model = TaskModel(tiny_bundle.spec_of(Task.SEGMENTATION)).eval()
    symmetric = [np.concatenate([p, p[:, ::-1]], axis=1) for p in map(tiny_bundle.picture, (0, 1))]
    even = [np.full((32, 32, 3), 90, dtype=np.uint8)]
    # Random weights answer both halves of a mirrored picture differently, but agree with
    # themselves where the second view is the first one.
    assert max(Look.at(model, symmetric).steadiness) < 1.0
    found = Look.at(model, even)
    mirrored = found.found.labels[0][:, ::-1]  # type: ignore[index]
    assert found.steadiness == [pytest.approx(np.mean(found.found.labels[0] == mirrored))]
