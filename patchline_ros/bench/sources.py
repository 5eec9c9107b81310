"""The source models of a scene: trained once, kept, and shared by all runs that start from them.

    OUT/sources/TASK-KEY.safetensors     weights
    OUT/sources/TASK-KEY.json            how they were made, written last
    OUT/sources/affinity-KEY.json        how alike the models of a set are
    OUT/sources/patch-table-KEY.json     how many patches drifts need (`predicted.py`)
    OUT/sources/prepared-TASK-KEY.*      patches that rows start from (`prepared.py`)

A key is a hash of everything that the content depends on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from patchline_ros.adaptation.affinity import affinity_table
from patchline_ros.adaptation.source_model import PreparedModel
from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.bench.inputs import Inputs, origin_of, start_weights
from patchline_ros.bench.scene import Scene
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.manifest import Affinity, ModelEntry
from patchline_ros.offline.bundle_making import AFFINITY_IMAGES
from patchline_ros.offline.kept_models import KeptModels
from patchline_ros.offline.source_training import (
    in_training_order,
    measured,
    taught_by,
    train_source_model,
)
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.fabric import training_fabric
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.training import sample_bytes

Report = Callable[[float], None]
"""Told the share that is done, 0..1."""


class SourceRecord(ModelEntry):
    """How a source model was made and what it does."""

    origin: str
    seed: int
    seconds: float


@dataclass(frozen=True)
class Source:
    """A source model with what is known of it."""

    model: TaskModel
    record: SourceRecord
    prepared: PreparedModel | None = None
    """What was prepared for it; None: nothing."""

    def with_entropy(self, entropy: float) -> Source:
        """The same with another I_source, as a bundle has measured it on its own frames."""
        return replace(self, record=self.record.model_copy(update={"source_entropy": entropy}))


def _samples_digest(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample_bytes(sample))
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
        self.recipe = experiment.recipe(seed)
        self._folder = inputs.out / "sources"
        self._origin = origin_of(experiment, inputs)
        self._keys: dict[Task, str] = {}
        for task in experiment.tasks:
            if task not in scene.tasks:
                there = ", ".join(str(task) for task in scene.tasks)
                raise ExperimentError(
                    f"scene {scene.name} has no {task}; name only {there} under tasks"
                )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Of the experiment."""
        return self._experiment.tasks

    def _spec(self, task: Task) -> ModelSpec:
        there = self._scene.tasks[task]
        return self._experiment.spec(task, there.classes, there.input_size)

    def _teacher(self, task: Task) -> Task | None:
        """The task whose backbone this one's training starts from."""
        alone = self._inputs.bundle is not None or self._experiment.source.start == "imagenet"
        return taught_by(task, self._experiment.tasks, from_weights=alone)

    def key(self, task: Task) -> str:
        """Tells this source model from any other."""
        if task not in self._keys:
            there = self._scene.tasks[task]
            recipe = self.recipe
            teacher = self._teacher(task)
            self._keys[task] = _hash(
                self._spec(task).model_dump(mode="json"),
                [
                    recipe.epochs_of(task),
                    recipe.batch_size,
                    recipe.learning_rate,
                    recipe.seed,
                    # A task without a share has the key that it had before there was any.
                    *([recipe.drifted_views[task]] if task in recipe.drifted_views else []),
                ],
                self._origin,
                self.key(teacher) if teacher else "",
                _samples_digest(there.source_train),
                _samples_digest(there.source_held_out),
            )
        return self._keys[task]

    def _name(self, task: Task) -> str:
        return f"{task}-{self.key(task)}"

    def _record_path(self, task: Task) -> Path:
        return self._folder / f"{self._name(task)}.json"

    def make(self, task: Task, report: Report = lambda _: None) -> None:
        """Trains the model, or takes it from the bundle; does nothing where it is kept already.

        Raises:
            ValueError: too few pictures, or weights that do not fit.
        """
        path = self._record_path(task)
        if path.is_file():
            return
        started = time.monotonic()
        kept = KeptModels(self._folder)
        model = self._of_bundle(task)
        if model is not None:
            kept.keep(self._name(task), model.state_dict())
        else:
            model = self._trained(task, kept, report)
        record = SourceRecord(
            **measured(model, self._scene.tasks[task].source_held_out).model_dump(),
            origin=self._origin,
            seed=self.recipe.seed,
            seconds=time.monotonic() - started,
        )
        write_file(path, f"{record.model_dump_json(indent=1)}\n".encode())

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

    def _trained(self, task: Task, kept: KeptModels, report: Report) -> TaskModel:
        teacher = self._teacher(task)
        return train_source_model(
            self._spec(task),
            self._scene.tasks[task].source_train,
            self.recipe,
            weights=start_weights(self._experiment, self._inputs),
            backbone=self.load(teacher).model.backbone.state_dict() if teacher else None,
            kept=kept,
            name=self._name(task),
            fabric=training_fabric(),
            on_step=lambda step: report(step.share),
        )

    def load(self, task: Task) -> Source:
        """A kept source model, in evaluation mode; made first where it is not kept.

        Raises:
            ExperimentError: its files are damaged.
            ValueError: as `make` raises it.
        """
        self.make(task)
        path = self._record_path(task)
        try:
            record = SourceRecord.model_validate_json(path.read_bytes())
            model = TaskModel(record.spec)
            model.load_state_dict(KeptModels(self._folder).tensors(self._name(task)) or {})
        except (ValueError, RuntimeError, OSError) as error:
            raise ExperimentError(
                f"the source model {path} is damaged; delete it to train it again"
            ) from error
        if fingerprint(model) != record.fingerprint:
            raise ExperimentError(
                f"the source model {path} does not have the fingerprint that its file says; "
                "delete it to train it again"
            )
        return Source(model.eval(), record)

    def path_for(self, name: str, *depends_on: object) -> Path:
        """A file of this folder for what depends on these plain data."""
        return self._folder / f"{name}-{_hash(*depends_on)}.json"

    def affinity(self, measure: str) -> Affinity:
        """Similarity of the models group by group, on held-out source pictures; kept on disk.

        Raises:
            ExperimentError: its file is damaged.
            ValueError: as `load` raises it.
        """
        tasks = in_training_order(self._experiment.tasks)
        path = self.path_for("affinity", measure, [self.key(t) for t in tasks])
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
