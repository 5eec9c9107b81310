"""What each process of `torchrun ... test/together.py OUT` does in test_training.

It trains a source model with the others, without a pause and with one, then makes a bundle with
them, and writes what it has into OUT/RANK.json.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from patchline_ros.jobs.schedule import Processes
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.make import make_bundle
from patchline_ros.offline.predictor_data import PredictorSettings
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.source_config import SimSource
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.tasks import Boxes, Label, Sample, Task
from patchline_ros.vision import training
from patchline_ros.vision.model import ModelSpec, fingerprint
from patchline_ros.vision.processes import training_fabric
from patchline_ros.vision.training import train_source

SIDE = 64
CLASSES = {task: ("dark", "light") for task in Task}
SPEC = ModelSpec(task=Task.LANES, classes=CLASSES[Task.LANES], input_size=(SIDE, SIDE), width=0.25)
NORMLESS = SPEC.model_copy(update={"backbone": "vgg16"})
"""In which no picture of a batch sees the others, so that shares change nothing."""
SETTINGS = {
    "weights": None,
    "backbone": None,
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "seed": 0,
    "ema": 0.8,
}
SLOW = {"learning_rate": 1e-3}
RECIPE = Recipe(width=0.25, road_epochs=1, sign_epochs=1, batch_size=8, drift_window=4, threads=1)


def sample(task: Task, seed: int) -> Sample:
    """A dark and a light half, with a border that moves."""
    rng = np.random.default_rng(seed)
    border = int(rng.integers(16, 48))
    light = np.zeros((SIDE, SIDE), np.uint8)
    light[:, border:] = 1
    image = 60 + 100 * light[..., None] + rng.integers(0, 40, (SIDE, SIDE, 3))
    labels: dict[Task, Label] = {
        Task.SIGNS: int(border > 32),
        Task.OBJECTS: Boxes.truth([[border, 0, SIDE, SIDE]], [1]),
        Task.LANES: light,
    }
    return Sample(image.astype(np.uint8), labels[task])


def samples(task: Task, count: int = 16) -> list[Sample]:
    """The first so many."""
    return [sample(task, seed) for seed in range(count)]


def source() -> SourceData:
    """All three tasks."""
    return SourceData(
        "sim",
        {
            task: TaskData(
                classes=CLASSES[task],
                names=[f"frame{i}" for i in range(16)],
                train=samples(task),
                held_out=[sample(task, seed) for seed in range(16, 24)],
            )
            for task in Task
        },
    )


def main(out: Path) -> None:
    """Runs in each process."""
    torch.set_num_threads(1)
    fabric = training_fabric()
    data = samples(Task.LANES)
    normless = [*train_source(NORMLESS, data, **{**SETTINGS, **SLOW}, fabric=fabric)]
    *_, (_, trained) = train_source(SPEC, data, **SETTINGS, fabric=fabric)
    training.CHECKPOINT_SECONDS = 0.0
    checkpoint = out / "checkpoint"
    for step, _ in train_source(SPEC, data, **SETTINGS, checkpoint=checkpoint, fabric=fabric):
        if step.number == 5:
            break
    resumed = [*train_source(SPEC, data, **SETTINGS, checkpoint=checkpoint, fabric=fabric)]
    try:
        next(train_source(SPEC, data, **{**SETTINGS, "batch_size": 7}, fabric=fabric))
    except ValueError as error:
        refused = str(error)
    stages: list[str] = []
    config = OfflineConfig(
        name="b",
        sources={task: SimSource() for task in Task},
        recipe=RECIPE,
        predictor=PredictorSettings(drifts=(("fog", 0.5), ("noise", 0.9)), counts=(0,)),
    )
    with closing(Processes(1)) as processes:
        bundle = make_bundle(
            source(), config, None, out / "b", processes, lambda stage, *_: stages.append(stage)
        )
    facts = {
        "processes": fabric.world_size,
        "losses": [float(step.loss) for step, _ in normless],
        "fingerprint": fingerprint(trained),
        "first resumed": resumed[0][0].number,
        "fingerprint resumed": fingerprint(resumed[-1][1]),
        "refused": refused,
        "bundle": bundle is not None,
        "stages": sorted(set(stages)),
    }
    (out / f"{fabric.global_rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
