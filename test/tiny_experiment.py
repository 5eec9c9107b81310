"""A scene of tiny random pictures, an experiment on it, and its source models: made in a second."""

from __future__ import annotations

import numpy as np
import torch

from patchline_ros.adaptation.affinity import affinity_table
from patchline_ros.bench.experiment import Experiment, RunConfig, run_config
from patchline_ros.bench.result import Scores, TaskResult
from patchline_ros.bench.scene import Scene, TaskScene
from patchline_ros.bench.sources import Source, SourceRecord
from patchline_ros.tasks import Label, Sample, Task
from patchline_ros.vision.model import TaskModel, fingerprint

SIDE = 32
CLASSES = {Task.CLASSIFICATION: ("stop", "go", "turn"), Task.SEGMENTATION: ("sky", "road")}
EXPERIMENT = {
    "name": "tiny",
    "scene": "none",
    "width": 0.25,
    "tasks": ["classification", "segmentation"],
    "source": {
        "start": "random",
        "epochs": {"classification": 1, "segmentation": 1, "detection": 1},
        "batch_size": 4,
    },
    "training": {"epochs": 2, "batch_size": 4},
    "seeds": [0, 1],
    "rows": {
        "source": {"training": {"reestimate_norm": False}},
        "norm": {},
        "full": {"method": {"method": "ft_full"}},
        "ours": {"method": {"method": "patchline", "k": 7}, "warm_start": "most_similar"},
        "uncached": {
            "method": {"method": "patchline", "k": 7},
            "warm_start": "most_similar",
            "training": {"cache": "none"},
        },
        "average": {
            "method": {"method": "patchline", "k": 7},
            "warm_start": "average",
            "entropy_filter": "half",
            "order": ["segmentation", "classification"],
        },
        "reversed": {"method": {"method": "patchline", "k": 7}, "order": "reversed"},
        "paper": {"method": {"method": "patchline", "k": 7}, "entropy_filter": "paper"},
        "few": {"method": {"method": "patchline", "k": 7}, "most_labelled": 3},
        "wild": {"method": {"method": "patchline", "k": 7}, "training": {"rate": 1e30}},
    },
}


def _label(task: Task, number: int, rng: np.random.Generator) -> Label:
    if task is Task.CLASSIFICATION:
        return number % len(CLASSES[task])
    return rng.integers(0, len(CLASSES[task]), (SIDE, SIDE), dtype=np.uint8)


def samples(task: Task, count: int, seed: int) -> list[Sample]:
    """Random pictures with random labels."""
    rng = np.random.default_rng(seed)
    return [
        Sample(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), _label(task, i, rng))
        for i in range(count)
    ]


def tiny_scene() -> Scene:
    """Ten frames to adapt on, of which each fifth validation; four to test on."""
    tasks = {
        task: TaskScene(
            classes=CLASSES[task],
            source_train=samples(task, 8, 1),
            source_held_out=samples(task, 4, 2),
            adapt=samples(task, 10, 3),
            test=samples(task, 4, 4),
            input_size=(SIDE, SIDE),
        )
        for task in CLASSES
    }
    return Scene("tiny", tasks)


def experiment() -> Experiment:
    """Every kind of row."""
    return Experiment.model_validate(EXPERIMENT)


def sources(scene: Scene, entropy: float = 0.0, of: Experiment | None = None) -> dict[Task, Source]:
    """Untrained models."""
    torch.manual_seed(0)
    found: dict[Task, Source] = {}
    for task, there in scene.tasks.items():
        model = TaskModel((of or experiment()).spec(task, there.classes, there.input_size)).eval()
        found[task] = Source(
            model,
            SourceRecord(
                spec=model.spec,
                origin="random",
                seed=0,
                fingerprint=fingerprint(model),
                source_metric=0.5,
                source_entropy=entropy,
                seconds=0.0,
            ),
        )
    return found


def affinity(found: dict[Task, Source]) -> dict[str, list[float]]:
    """How alike the models are."""
    pictures = [sample.image for sample in samples(Task.SEGMENTATION, 4, 5)]
    return affinity_table({task: source.model for task, source in found.items()}, pictures)


def task_result(**changes: object) -> TaskResult:
    """What became of a task in a run that did not happen."""
    facts = {
        "fingerprint": "f",
        "source_held_out": 0.9,
        "test": Scores(source=0.4, norm=0.5, final=0.6),
        "validation_source": 0.4,
        "validation": [0.5, 0.6],
        "losses": [1.0],
        "best_epoch": 1,
        "collected": 8,
        "kept": 8,
        "validated": 2,
        "tested": 4,
        "images": 16,
        "gflops": {"norm": 1.0, "frozen": 2.0, "training": 10.0, "validation": 4.0},
        "step": None,
        "peak_bytes": 1,
        "seconds": 1.0,
    }
    return TaskResult.model_validate(facts | changes)


def config_of(row: str, seed: int = 0) -> RunConfig:
    """Of a run of the tiny experiment."""
    return run_config(experiment(), row, seed, {}, "random")
