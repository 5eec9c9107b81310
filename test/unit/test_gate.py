"""How sure it is that a candidate is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from patchline_ros.adaptation.gate import Comparison, EarlierGain, compare
from patchline_ros.adaptation.verdict import Running, verified
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint

CLASSES = ("stop", "yield", "limit")
SPEC = ModelSpec(task=Task.CLASSIFICATION, classes=CLASSES, input_size=(32, 32), width=0.25)


class Reading(torch.nn.Module):
    """Says what the red of a picture's first pixel says, or with some of its answers wrong."""

    def __init__(self, wrong: Sequence[int]) -> None:
        super().__init__()
        self.spec = SPEC
        self.head = TaskModel(SPEC).head
        self._wrong = set(wrong)
        self._seen = 0

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for _ in images:
            number = self._seen
            answer = (number + (number in self._wrong)) % len(CLASSES)
            rows.append(torch.nn.functional.one_hot(torch.tensor(answer), len(CLASSES)))
            self._seen += 1
        return torch.stack(rows).float()


def signs(count: int) -> list[Sample]:
    """Labels that a model with no wrong answers gives."""
    return [Sample(np.zeros((32, 32, 3), np.uint8), i % len(CLASSES)) for i in range(count)]


def test_the_error_of_a_mean_is_the_classical_one() -> None:
    wrong = {"running": [0, 2, 3, 7, 8], "candidate": [3, 9]}
    found = compare(Reading(wrong["running"]), Reading(wrong["candidate"]), signs(10))
    right = {name: np.array([i not in rows for i in range(10)]) for name, rows in wrong.items()}
    difference = right["candidate"].astype(float) - right["running"]
    assert (found.running, found.candidate) == pytest.approx((0.5, 0.8))
    assert found.error == pytest.approx(difference.std(ddof=1) / np.sqrt(10))


def test_one_answer_more_on_four_frames_is_chance_and_on_many_it_is_not() -> None:
    lucky = compare(Reading([0, 1, 2]), Reading([0, 1]), signs(4))
    assert lucky.candidate - lucky.running == pytest.approx(0.25)
    assert not lucky.accepted(0.005)
    sure = compare(Reading(range(0, 40, 2)), Reading(range(0, 40, 4)), signs(40))
    assert sure.candidate - sure.running == pytest.approx(0.25)
    assert sure.accepted(0.005)
    same = compare(Reading([1]), Reading([1]), signs(4))
    assert same.error == 0 and not same.accepted(0)


def test_margin_and_error_add_up() -> None:
    seen = Expected(agreement=0.9, agreement_error=0.05, entropy=0.2, entropy_error=0.05)
    assert Comparison(0.5, 0.61, 0.1, seen).accepted(0.005)
    assert not Comparison(0.5, 0.61, 0.1, seen).accepted(0.015)


def test_the_patch_set_of_an_earlier_drift_has_to_be_better_by_the_margin() -> None:
    torch.manual_seed(0)
    source = TaskModel(SPEC).eval()
    method = PatchSettings(k=2)
    model = PatchedModel(source, method).eval()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.neg_()
        pictures = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
        answers = model(torch.stack([image_tensor(p) for p in pictures])).argmax(1).tolist()
    # What it answers is the truth; where its head is surest, that of the source is least sure.
    truth = [Sample(p, answer) for p, answer in zip(pictures, answers, strict=True)]
    base = fingerprint(source)
    facts = PatchSetMetadata(
        task=SPEC.task, version=1, base_fingerprint=base, method=method, norm="source", seed=0
    )
    patch_set = to_bytes(model, facts)
    for margin, accepted in ((0.01, True), (1.5, False)):
        found = verified(source, base, Running(source), patch_set, truth, margin)
        assert found.verdict.accepted == accepted


@pytest.mark.parametrize(
    ("gain", "holds"),
    [
        # Ten frames of then said +0.20 +- 0.05. Two of now can't say more than +- 0.11.
        (0.20, True),
        (0.0, True),
        # Within two errors of the difference, 0.24, it is the same drift.
        (-0.04, True),
        # Farther than two errors of the difference: another drift, and now alone it is worse.
        (-0.06, False),
    ],
)
def test_a_few_frames_of_now_count_beside_those_of_then(gain: float, holds: bool) -> None:
    then = EarlierGain(gain=0.2, error=0.05, frames=10)
    assert then.error_on(40) == pytest.approx(0.025)
    seen = Expected(agreement=0.9, agreement_error=0.05, entropy=0.2, entropy_error=0.05)
    now = Comparison(0.5, 0.5 + gain, 0.3, seen)
    assert then.holds(now, 2, 0.005) == holds
    assert not now.accepted(0.005), "alone it says nothing"
    weak = EarlierGain(gain=0.05, error=0.05, frames=10)
    assert not weak.holds(Comparison(0.5, 0.5, 0.3, seen), 2, 0.005)
    assert weak.holds(Comparison(0.5, 0.75, 0.3, seen), 2, 0.005)
