"""The bundle: the folder that an offline run makes and a car loads.

    manifest.json            what is in it, with the sha256 of each file
    TASK.safetensors         the source model of each task
    reference.safetensors    source features and the null of the drift test
    trained_on.json          names of the pictures that the models were trained on
    held_out.json            names of those that they were measured on
    examples.safetensors     a few of the latter, for the card
    predictor.safetensors    the learnt patch predictor, where there is one
    card.html                for people; not in the manifest, so it may be deleted or made again

Reading checks everything before anything is used; a manifest is written last, so a folder with a
manifest is whole. Manifests of earlier formats are migrated as they are read (docs/bundle.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import sha256
from patchline_ros.tasks import EARLIER_TASK_NAMES, Image, Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint

MANIFEST = "manifest.json"
REFERENCE = "reference.safetensors"
TRAINED_ON = "trained_on.json"
HELD_OUT = "held_out.json"
EXAMPLES = "examples.safetensors"
PREDICTOR = "predictor.safetensors"
CARD = "card.html"
FORMAT: Final = 3

LearntKind = Literal["light", "vgg16"]
"""Of a learnt patch predictor: it reads the drift of each tap, or the pictures by a VGG16."""
PatchCount = Literal["table", "light", "vgg16"]
"""What says how many patches a drift gets."""

Affinity = dict[str, list[float]]
"""Similarity of two models' feature maps per group, under "task task", names sorted."""


class BundleError(ValueError):
    """A bundle can't be used; the message says why in one sentence."""


class ModelEntry(StrictModel):
    """One source model: how to build it, and what it does on held-out source data."""

    spec: ModelSpec
    fingerprint: str
    source_metric: float
    source_entropy: float
    """I_source: mean entropy of the outputs on held-out source data, in nats."""


class DriftEntry(StrictModel):
    """How drift is measured: MMD^2 of one model's pooled tap."""

    task: Task
    tap: int = Field(ge=0)
    window: int = Field(ge=2)
    bandwidth: float = Field(gt=0)
    threshold: float


class PatchStep(StrictModel):
    """A step of the patch table: from this MMD^2 on, this number of patches."""

    mmd2: float
    patches: int = Field(ge=0)


class DriftLabel(StrictModel):
    """One drift that was made of source frames, and how many patches it needs."""

    corruption: str
    severity: float
    mmd2: float
    metrics: dict[int, list[float]]
    """The task's metric on corrupted held-out frames, by number of patches, one a seed."""
    patches: int = Field(ge=0)
    """The smallest number whose mean metric is within the margin of the best."""
    predicted: int = Field(ge=0)
    """What a table that was learnt from the other drifts asks for."""


class PredictorEntry(StrictModel):
    """The learnt patch predictor, and what it said of drifts that it was trained without."""

    kind: LearntKind
    vgg16: str = ""
    """Where the weights of a VGG16 come from: a file's name, or `random weights`."""
    predicted: list[int]
    """For each of the labelled drifts, by one that was trained on all others."""
    accuracy: float = Field(ge=0, le=1)
    """Share of these that are the smallest sufficient number."""
    mean_absolute_error: float = Field(ge=0)
    """Of these, in patches."""


class Manifest(StrictModel):
    """What a bundle holds."""

    format: Literal[3] = FORMAT
    name: str
    source: str
    """Kind of the source data: sim, camvid (with GTSRB's signs), or the sets joined by +."""
    seed: int
    models: dict[Task, ModelEntry]
    drift: DriftEntry
    affinity: dict[str, Affinity]
    """Affinity of the models, by measure."""
    affinity_measure: str
    """Measure that orders the training."""
    patch_table: list[PatchStep]
    """Number of patches by MMD^2, both rising."""
    drift_labels: list[DriftLabel]
    """Labelled drifts that the table was learnt from."""
    label_margin: float
    """Difference to the best metric, 0..1, that is still enough, for the labels."""
    patch_predictor: PredictorEntry | None = None
    """None: the table alone says how many patches a drift gets."""
    versions: dict[str, str]
    config: dict[str, Any]
    """The configuration that it was made with, defaults filled in."""
    files: dict[str, str]
    """sha256 of each other file."""

    @model_validator(mode="after")
    def _measured(self) -> Manifest:
        if self.affinity_measure not in self.affinity:
            raise ValueError(
                f"affinity_measure is {self.affinity_measure!r}, but affinity has only "
                f"{', '.join(self.affinity) or 'nothing'}"
            )
        predictor = self.patch_predictor
        if predictor is not None and len(predictor.predicted) != len(self.drift_labels):
            raise ValueError(
                f"patch_predictor says {len(predictor.predicted)} numbers of patches, but "
                f"drift_labels has {len(self.drift_labels)} drifts"
            )
        return self

    @property
    def training_affinity(self) -> Affinity:
        """The affinities that order the training."""
        return self.affinity[self.affinity_measure]


def _from_format_1(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Format 1 knew one measure, and kept of the labelled drifts only the table."""
    return {
        **plain,
        "format": 2,
        "affinity": {"perceptual_hash": plain.get("affinity")},
        "affinity_measure": "perceptual_hash",
        "drift_labels": [],
        "label_margin": 0.01,
    }


def _from_format_2(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Format 2 called the tasks by what they are about on a road."""
    affinity = plain.get("affinity")
    if isinstance(affinity, dict):
        affinity = {measure: _renamed_pairs(pairs) for measure, pairs in affinity.items()}
    return {**plain, "format": 3, "affinity": affinity}


def _renamed_pairs(pairs: Any) -> Any:
    """Affinities by pair of tasks, the names of a pair sorted as before."""
    if not isinstance(pairs, dict):
        return pairs
    names = EARLIER_TASK_NAMES
    return {
        " ".join(sorted(names.get(word, word) for word in pair.split())): values
        for pair, values in pairs.items()
    }


_MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    1: _from_format_1,
    2: _from_format_2,
}
"""Functions that turn each earlier format into the next."""


def _migrated(plain: Any, path: Path) -> Any:
    """A manifest's fields in the present format; what is no manifest at all as it is."""
    while isinstance(plain, dict) and plain.get("format") != FORMAT and "format" in plain:
        written = plain["format"]
        if not isinstance(written, int) or written not in _MIGRATIONS:
            raise BundleError(
                f"bundle manifest {path} has format {written!r}; this patchline_ros reads "
                f"1 to {FORMAT}: update it, or make the bundle again"
            )
        plain = _MIGRATIONS[written](plain)
    return plain


def _validated(text: bytes, path: Path) -> Manifest:
    try:
        plain = from_json(text)
    except ValueError as error:
        raise BundleError(f"bundle manifest {path} is not JSON: {error}") from error
    try:
        return Manifest.model_validate(_migrated(plain, path))
    except ValidationError as error:
        raise BundleError(f"bundle manifest {path}: {first_mistake(error, Manifest)}") from error


def _weights(manifest: Manifest, task: Task) -> str:
    """The file of a task's source model; bundles of formats 1 and 2 have an earlier name for it."""
    names = [f"{name}.safetensors" for name in (task, *task.earlier_names)]
    return next((name for name in names if name in manifest.files), names[0])


class Bundle:
    """A bundle on disk, checked."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Reads and checks a bundle: the manifest, that each file is there, and each sha256.

        Raises:
            BundleError: with one sentence that says what is wrong.
        """
        manifest_path = path / MANIFEST
        if not path.is_dir():
            raise BundleError(
                f"bundle {path} does not exist; make one with `patchline offline` or name another"
            )
        if not manifest_path.is_file():
            raise BundleError(f"bundle {path} has no {MANIFEST}: it is not a bundle, or not whole")
        manifest = _validated(manifest_path.read_bytes(), manifest_path)
        for name, digest in manifest.files.items():
            file = path / name
            if Path(name).name != name:
                raise BundleError(f"bundle {path} names the file {name!r} outside of itself")
            if not file.is_file():
                raise BundleError(f"bundle {path} lacks the file {name}; make or copy it again")
            if sha256(file.read_bytes()) != digest:
                raise BundleError(
                    f"bundle {path} is damaged: {name} does not have the sha256 of the manifest"
                )
        missing = {_weights(manifest, task) for task in manifest.models} | {REFERENCE, TRAINED_ON}
        if manifest.patch_predictor is not None:
            missing.add(PREDICTOR)
        missing -= manifest.files.keys()
        if missing:
            raise BundleError(f"bundle {path}: the manifest does not list {sorted(missing)[0]}")
        return cls(path, manifest)

    def model(self, task: Task) -> TaskModel:
        """The source model of a task, in evaluation mode.

        Raises:
            BundleError: the bundle has no such model, or its weights are not what it says.
        """
        entry = self._entry(task)
        model = TaskModel(entry.spec)
        try:
            tensors = load_tensors((self.path / _weights(self.manifest, task)).read_bytes())
            model.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise BundleError(
                f"bundle {self.path}: {task} model does not load: {reason}"
            ) from error
        if fingerprint(model) != entry.fingerprint:
            raise BundleError(
                f"bundle {self.path}: the {task} model does not have the manifest's fingerprint"
            )
        return model.eval()

    def _entry(self, task: Task) -> ModelEntry:
        if task not in self.manifest.models:
            known = ", ".join(sorted(str(task) for task in self.manifest.models))
            raise BundleError(f"bundle {self.path} has no model for {task}; it has {known}")
        return self.manifest.models[task]

    def spec(self, task: Task) -> ModelSpec:
        """How the model of a task is built."""
        return self._entry(task).spec

    def fingerprint(self, task: Task) -> str:
        """Fingerprint of the task's source model, which each patch set names."""
        return self._entry(task).fingerprint

    @cached_property
    def trained_on(self) -> dict[Task, list[str]]:
        """Names of the pictures that each source model was trained on."""
        return self._names(TRAINED_ON)

    @cached_property
    def held_out(self) -> dict[Task, list[str]]:
        """Names of the pictures that each was measured on; none in a bundle of format 1."""
        return self._names(HELD_OUT) if HELD_OUT in self.manifest.files else {}

    def _names(self, file: str) -> dict[Task, list[str]]:
        text = (self.path / file).read_text(encoding="utf-8")
        return {Task(task): list(names) for task, names in json.loads(text).items()}

    @cached_property
    def examples(self) -> dict[Task, list[Image]]:
        """A few held-out pictures of each task; none in a bundle of format 1.

        Raises:
            BundleError: the file holds something else.
        """
        if EXAMPLES not in self.manifest.files:
            return {}
        try:
            arrays = load_arrays((self.path / EXAMPLES).read_bytes())
        except SafetensorError as error:
            raise BundleError(f"bundle {self.path}: {EXAMPLES} does not load: {error}") from error
        return {Task(task): list(images) for task, images in arrays.items()}

    @cached_property
    def drift_reference(self) -> DriftReference:
        """What the drift monitor compares with."""
        arrays = load_arrays((self.path / REFERENCE).read_bytes())
        drift = self.manifest.drift
        return DriftReference(
            features=arrays["features"],
            mean=arrays["mean"],
            scale=arrays["scale"],
            bandwidth=drift.bandwidth,
            null=arrays["null"].astype(np.float64),
            threshold=drift.threshold,
            window=drift.window,
        )
