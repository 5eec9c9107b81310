"""Agreement of two answers, and when a model is taken to have collapsed after a swap."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.patching.expected import Expected, expectation
from patchline_ros.runtime.swap_monitor import COMPARED, EVERY, SwapMonitor
from patchline_ros.tasks import Boxes
from patchline_ros.vision.agreement import agreement

CAR, PERSON = 0, 1


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    """Each x1, y1, x2, y2, class, score."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Boxes(
        table[:, :4].astype(np.float32),
        table[:, 4].astype(np.int64),
        table[:, 5].astype(np.float32),
    )


def test_agreement_of_classes_and_of_class_maps() -> None:
    assert (agreement(3, 3), agreement(3, 4)) == (1.0, 0.0)
    one = np.zeros((4, 8), np.uint8)
    other = one.copy()
    other[:, :2] = 1
    assert agreement(one, other) == agreement(other, one) == 0.75


def test_agreement_of_boxes_is_f1() -> None:
    car, beside = (0, 0, 10, 10, CAR, 0.9), (20, 0, 30, 10, CAR, 0.8)
    nothing = boxes()
    assert agreement(nothing, nothing) == 1.0
    assert agreement(boxes(car), nothing) == 0.0
    assert agreement(boxes(car, beside), boxes(car, beside)) == 1.0
    assert agreement(boxes(car, beside), boxes(car)) == pytest.approx(2 / 3)
    assert agreement(boxes(car), boxes((0, 0, 10, 10, PERSON, 0.9))) == 0.0
    assert agreement(boxes(car), boxes((0, 0, 10, 10, CAR, 0.1))) == 0.0, "too unsure to count"
    # Of two boxes on one car only one is matched, whichever is first.
    twice = boxes((0, 0, 10, 6, CAR, 0.9), (0, 0, 10, 9, CAR, 0.9))
    assert agreement(twice, boxes(car)) == agreement(boxes(car), twice) == pytest.approx(2 / 3)


def test_the_expectation_has_the_classical_errors_and_never_none() -> None:
    found = expectation([0.0, 0.5, 1.0, 0.5], [1.0, 2.0, 3.0, 4.0])
    assert (found.agreement, found.entropy) == (0.5, 2.5)
    assert found.agreement_error == pytest.approx(np.std([0, 0.5, 1, 0.5], ddof=1) / 2)
    assert found.entropy_error == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    same = expectation([1.0, 1.0], [0.5, 0.5])
    assert same.agreement_error == 0.02 and same.entropy_error == pytest.approx(0.01)


def watched(expected: Expected, agreements: np.ndarray, entropies: np.ndarray) -> SwapMonitor:
    monitor = SwapMonitor(expected)
    for agreed, entropy in zip(agreements, entropies, strict=True):
        assert monitor.collapse() is None
        monitor.add(agreed, entropy)
    assert monitor.finished
    return monitor


@pytest.mark.parametrize(
    ("agreement_then", "entropy_then", "collapsed"),
    [
        (0.8, 0.3, False),
        (0.95, 0.3, False),  # more alike than expected
        (0.8, 2.0, False),  # another entropy alone, as when the road changes
        (0.5, 0.3, True),
        (0.67, 0.3, False),  # less alike, but not by much
        (0.67, 2.0, True),  # as much, and unsure
        (0.67, 0.0, True),  # as much, and too sure
    ],
)
def test_collapse(agreement_then: float, entropy_then: float, collapsed: bool) -> None:
    rng = np.random.default_rng(0)
    expected = Expected(agreement=0.8, agreement_error=0.05, entropy=0.3, entropy_error=0.05)
    noise = rng.normal(0, 0.02, COMPARED)
    noise -= noise.mean()
    monitor = watched(expected, agreement_then + noise, entropy_then + noise)
    reason = monitor.collapse()
    assert (reason is not None) == collapsed
    if reason:
        assert f"{agreement_then:.0%}" in reason and "at the gate it was 80% and 0.300" in reason


def test_every_so_manieth_picture_is_compared() -> None:
    monitor = SwapMonitor(Expected(agreement=1, agreement_error=1, entropy=1, entropy_error=1))
    assert [monitor.due() for _ in range(2 * EVERY)] == 2 * [True, *[False] * (EVERY - 1)]
