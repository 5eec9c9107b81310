"""What each process of `torchrun ... test/together.py OUT` does in test_training.

It trains source models with the others, without a pause and with one, and writes what came of it
into OUT/RANK.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_watched import road

from patchline_ros.offline.drifted_views import DriftedViews
from patchline_ros.tasks import Task
from patchline_ros.vision import training
from patchline_ros.vision.fabric import training_fabric
from patchline_ros.vision.model import ModelSpec, fingerprint
from patchline_ros.vision.training import train_source

SPEC = ModelSpec(task=Task.SEGMENTATION, classes=("dark", "light"), input_size=(64, 64), width=0.25)
SETTINGS: dict[str, Any] = {
    "weights": None,
    "backbone": None,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "seed": 0,
    "ema": 0.8,
}
SAMPLES = [road(seed) for seed in range(16)]
NORMLESS = SPEC.model_copy(update={"backbone": "vgg16"})
"""In which no picture of a batch sees the others, so that shares change nothing."""
NORMLESS_SETTINGS = {**SETTINGS, "learning_rate": 1e-3, "draw_change": DriftedViews(0.25)}


def main(out: Path) -> None:
    """Runs in each process."""
    torch.set_num_threads(1)
    fabric = training_fabric()
    normless = [*train_source(NORMLESS, SAMPLES, **NORMLESS_SETTINGS, fabric=fabric)]
    *_, (_, whole) = train_source(SPEC, SAMPLES, **SETTINGS, fabric=fabric)
    training.CHECKPOINT_SECONDS = 0.0
    settings = {**SETTINGS, "fabric": fabric, "checkpoint": out / "checkpoint"}
    for step, _ in train_source(SPEC, SAMPLES, **settings):
        if step.number == 5:
            break
    resumed = [*train_source(SPEC, SAMPLES, **settings)]
    try:
        next(iter(train_source(SPEC, SAMPLES, **{**SETTINGS, "batch_size": 7}, fabric=fabric)))
        refused = ""
    except ValueError as error:
        refused = str(error)
    facts = {
        "batch of 7": refused,
        "losses": [float(step.loss) for step, _ in normless],
        "fingerprint": fingerprint(whole),
        "first resumed": resumed[0][0].number,
        "fingerprint resumed": fingerprint(resumed[-1][1]),
    }
    (out / f"{fabric.global_rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
