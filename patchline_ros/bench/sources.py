"""The source models of a scene: trained once, kept, and shared by all runs that start from them.

    OUT/sources/TASK-KEY.safetensors     weights
    OUT/sources/TASK-KEY.json            how they were made, written last
    OUT/sources/affinity-KEY.json        how alike the models of a set are

A key is a hash of everything that the content depends on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from patchline_ros.adaptation.affinity import affinity_table
from patchline_ros.adaptation.gate import evaluate
from patchline_ros.adaptation.selection import entropies
from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.inputs import Inputs, origin_of, start_weights
from patchline_ros.bench.scene import Scene
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.offline.bundle_making import AFFINITY_IMAGES
from patchline_ros.tasks import TRAINING_ORDER, Boxes, Sample, Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.training import train_source

Affinity = dict[str, list[float]]
Report = Callable[[float], None]
"""Told the share that is done, 0..1."""


class SourceRecord(BaseModel):
    """How a source model was made and what it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: ModelSpec
    origin: str
    seed: int
    fingerprint: str
    held_out_metric: float
    entropy: float
    """I_source: mean entropy of the outputs on held-out source data, in nats."""
    seconds: float


@dataclass(frozen=True)
class Source:
    """A source model with what is known of it."""

    model: TaskModel
    record: SourceRecord


def training_order(tasks: Sequence[Task]) -> list[Task]:
    """In which source models are trained: from a random start the others begin from the first."""
    return [task for task in TRAINING_ORDER if task in tasks]


def _samples_digest(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(np.ascontiguousarray(sample.image).tobytes())
        label = sample.label
        if isinstance(label, Boxes):
            digest.update(label.boxes.tobytes() + label.labels.tobytes())
        else:
            digest.update(np.asarray(label).tobytes())
    return digest.hexdigest()


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:20]


class SourceStore:
    """The source models of one experiment with one seed."""

    def __init__(self, experiment: Experiment, inputs: Inputs, scene: Scene, seed: int) -> None:
        """Nothing is read or trained yet.

        Raises:
            ExperimentError: the scene lacks a task, or a model does not fit its pictures.
        """
        self._experiment, self._inputs, self._scene = experiment, inputs, scene
        self._seed = experiment.source_seed(seed)
        self._folder = inputs.out / "sources"
        self._origin = origin_of(experiment, inputs)
        self._keys: dict[Task, str] = {}
        for task in experiment.tasks:
            if task not in scene.tasks:
                there = ", ".join(str(task) for task in scene.tasks)
                raise ExperimentError(
                    f"scene {scene.name} has no {task}; name only {there} under tasks"
                )

    def _spec(self, task: Task) -> ModelSpec:
        there = self._scene.tasks[task]
        return self._experiment.spec(task, there.classes, there.input_size)

    def _teacher(self, task: Task) -> Task | None:
        """The task whose backbone this one's training starts from."""
        first = training_order(self._experiment.tasks)[0]
        alone = self._inputs.bundle is not None or self._experiment.source.start == "imagenet"
        return None if alone or task is first else first

    def key(self, task: Task) -> str:
        """Tells this source model from any other."""
        if task not in self._keys:
            there = self._scene.tasks[task]
            recipe = self._experiment.source
            teacher = self._teacher(task)
            self._keys[task] = _hash(
                self._spec(task).model_dump(mode="json"),
                [
                    self._experiment.source.epochs.get(task, task.traits.source_epochs),
                    recipe.batch_size,
                    recipe.learning_rate,
                    self._seed,
                ],
                self._origin,
                self.key(teacher) if teacher else "",
                _samples_digest(there.source_train),
                _samples_digest(there.source_held_out),
            )
        return self._keys[task]

    def _path(self, task: Task, suffix: str) -> Path:
        return self._folder / f"{task}-{self.key(task)}{suffix}"

    def make(self, task: Task, report: Report = lambda _: None) -> None:
        """Trains the model, or takes it from the bundle; does nothing where it is kept already.

        Raises:
            ValueError: too few pictures, or weights that do not fit.
        """
        if self._path(task, ".json").is_file():
            return
        started = time.monotonic()
        model = self._of_bundle(task) or self._trained(task, report)
        model.eval()
        held_out = self._scene.tasks[task].source_held_out
        record = SourceRecord(
            spec=model.spec,
            origin=self._origin,
            seed=self._seed,
            fingerprint=fingerprint(model),
            held_out_metric=evaluate(model, held_out),
            entropy=float(np.mean(entropies(model, held_out))),
            seconds=time.monotonic() - started,
        )
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._path(task, ".safetensors"), save_tensors(state))
        write_file(self._path(task, ".json"), f"{record.model_dump_json(indent=1)}\n".encode())

    def _of_bundle(self, task: Task) -> TaskModel | None:
        """The bundle's model; None where there is no bundle, or its model does not fit."""
        if self._inputs.bundle is None:
            return None
        bundle = Bundle.load(self._inputs.bundle)
        if task not in bundle.manifest.models or bundle.spec(task) != self._spec(task):
            raise ExperimentError(
                f"bundle {self._inputs.bundle} has no {task} model with the classes, input size "
                f"and layers that {self._experiment.name} needs; leave --bundle out to train one"
            )
        return bundle.model(task)

    def _trained(self, task: Task, report: Report) -> TaskModel:
        recipe = self._experiment.source
        teacher = self._teacher(task)
        model: TaskModel | None = None
        for step, trained in train_source(
            self._spec(task),
            self._scene.tasks[task].source_train,
            weights=start_weights(self._experiment, self._inputs),
            backbone=self.load(teacher).model.backbone.state_dict() if teacher else None,
            epochs=self._experiment.source.epochs.get(task, task.traits.source_epochs),
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            seed=self._seed,
        ):
            model = trained
            report(step.share)
        assert model is not None
        return model

    def load(self, task: Task) -> Source:
        """A kept source model, in evaluation mode; made first where it is not kept.

        Raises:
            ExperimentError: its files are damaged.
            ValueError: as `make` raises it.
        """
        self.make(task)
        path = self._path(task, ".json")
        try:
            record = SourceRecord.model_validate_json(path.read_bytes())
            model = TaskModel(record.spec)
            model.load_state_dict(load_tensors(path.with_suffix(".safetensors").read_bytes()))
        except (ValidationError, SafetensorError, RuntimeError, OSError) as error:
            raise ExperimentError(
                f"the source model {path} is damaged; delete it to train it again"
            ) from error
        if fingerprint(model) != record.fingerprint:
            raise ExperimentError(
                f"the source model {path} does not have the fingerprint that its file says; "
                "delete it to train it again"
            )
        return Source(model.eval(), record)

    def affinity(self, measure: str) -> Affinity:
        """Similarity of the models group by group, on held-out source pictures; kept on disk.

        Raises:
            ExperimentError: its file is damaged.
            ValueError: as `load` raises it.
        """
        tasks = training_order(self._experiment.tasks)
        path = self._folder / f"affinity-{_hash(measure, [self.key(t) for t in tasks])}.json"
        if not path.is_file():
            models = {task: self.load(task).model for task in tasks}
            pictures = self._scene.tasks[tasks[0]].source_held_out[:AFFINITY_IMAGES]
            table = affinity_table(models, [sample.image for sample in pictures], measure)
            write_file(path, f"{json.dumps(table, indent=1)}\n".encode())
        try:
            return TypeAdapter(Affinity).validate_json(path.read_bytes())
        except ValidationError as error:
            raise ExperimentError(
                f"the affinity table {path} is damaged; delete it to make it again"
            ) from error

    def sources(self) -> Mapping[Task, Source]:
        """All models of the experiment."""
        return {task: self.load(task) for task in self._experiment.tasks}
