"""Training by several processes: what one trains, and one bundle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import together
from tiny_watched import road

from patchline_ros.bundle import Bundle
from patchline_ros.tasks import Task
from patchline_ros.vision.training import train_source

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*launch, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    done = torchrun(together.__file__, str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["fingerprint"] == second["fingerprint"]
    for facts in (first, second):
        assert facts["first resumed"] == 6
        assert facts["fingerprint resumed"] == facts["fingerprint"]
        assert facts["batch of 7"] == (
            "a batch of 7 can't be shared by 2 processes; give a batch_size that is a multiple of "
            "2 and at least 4"
        )
    steps = train_source(together.NORMLESS, together.SAMPLES, **together.NORMLESS_SETTINGS)
    alone = [float(step.loss) for step, _ in steps]
    assert np.mean([first["losses"], second["losses"]], axis=0) == pytest.approx(alone, rel=1e-3)
    assert alone[-1] < 0.5 * alone[0]


CONFIG = """
name: small
sources:
  detection: {set: camvid}
  segmentation: {set: camvid}
input_sizes: {detection: [64, 64], segmentation: [64, 64]}
weights: none
onnx: false
recipe: {width: 0.25, epochs: {segmentation: 1, detection: 1},
  batch_size: 8, drift_window: 4, threads: 1, ema: 0.9}
predictor: {drifts: [[fog, 0.5], [noise, 0.9]], counts: [0]}
workers: 1
"""


def test_torchrun_makes_one_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "camvid" / "day"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(50):
        sample = road(number)
        cv2.imwrite(str(folder / f"images/{number:03d}.png"), sample.image)
        # Road, and a car.
        cv2.imwrite(str(folder / f"labels/{number:03d}.png"), 3 + 5 * np.asarray(sample.label))
    config, out, log = (str(tmp_path / name) for name in ("small.yaml", "b", "log"))
    Path(config).write_text(CONFIG)
    command = ["-m", "patchline_ros.cli", "offline", "--config", config, "--out", out]
    done = torchrun(*command, "--tensorboard", log)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bundle written to") == done.stdout.count("start from") == 1
    assert set(Bundle.load(Path(out)).manifest.models) == {Task.DETECTION, Task.SEGMENTATION}
    assert sorted(path.parent.name for path in Path(log).rglob("*tfevents*")) == [
        "detection",
        "segmentation",
    ]
