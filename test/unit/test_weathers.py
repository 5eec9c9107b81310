"""`patchline trial weathers`: what it takes for forgotten, for too bad, and for grown."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.tasks import Task
from patchline_ros.trials.weathers import MOST_GROWTH_MIB, Visit, troubles_of

FIRST = Visit(
    round=1,
    weather="fog",
    seconds=10.0,
    by=["training"],
    source={Task.DETECTION: 0.3},
    metrics={Task.DETECTION: 0.6},
    memory_mib={"adapter": 300.0},
    store_mib=20.0,
)
AGAIN = dataclasses.replace(FIRST, round=2)


def test_what_stays_holds() -> None:
    better = dataclasses.replace(AGAIN, metrics={Task.DETECTION: 0.7})
    other = dataclasses.replace(FIRST, weather="rain", metrics={Task.DETECTION: 0.31})
    assert troubles_of([FIRST, other, better]) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metrics": {Task.DETECTION: 0.5}}, "50.0%, worse than the first visit's 60.0%"),
        ({"source": {Task.DETECTION: 0.7}}, "60.0%, worse than the source model's 70.0%"),
        ({"memory_mib": {"adapter": 301 + MOST_GROWTH_MIB}}, "adapter grew by 101 MiB"),
        ({"store_mib": 22 + MOST_GROWTH_MIB}, "the adapter's folder grew by 102 MiB"),
    ],
)
def test_what_does_not_is_said(change: dict[str, Any], sentence: str) -> None:
    [trouble] = troubles_of([FIRST, dataclasses.replace(AGAIN, **change)])
    assert sentence in trouble
