"""What preparing patches takes is counted as it is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchline_ros.bundle import Bundle
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.tasks import Task
from tools.plan_preparation import preparation_gflops

SHIPPED = Path(__file__).parents[2] / "resource" / "sim_road"


@pytest.mark.parametrize("task", [Task.DETECTION, Task.SEGMENTATION])
def test_the_plan_of_the_shipped_bundle_is_what_its_preparation_counted(task: Task) -> None:
    # Of signs it has fewer held-out pictures than the settings ask for.
    bundle = Bundle.load(SHIPPED)
    planned = sum(preparation_gflops(bundle.spec(task), PreparationSettings()))
    assert planned == pytest.approx(bundle.manifest.prepared[task].gflops, rel=1e-6)
