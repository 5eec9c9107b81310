"""The manifest of a bundle: what a bundle says of itself, in each format that there was.

Manifests of earlier formats are migrated as they are read (docs/bundle.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.tasks import EARLIER_TASK_NAMES, Task
from patchline_ros.vision.evidence import Evidence
from patchline_ros.vision.model import ModelSpec

FORMAT: Final = 5

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


class GatePoint(StrictModel):
    """One candidate on held-out frames of a drift: what was seen of it, and what it was worth."""

    corruption: str
    severity: float
    candidate: str
    """What stood against the source model, in a word."""
    evidence: Evidence
    before: float
    """The task's metric of the source model, 0..1."""
    after: float
    """The same of the candidate."""


class PreparedEntry(StrictModel):
    """Patches of one task that were trained before the car left."""

    drifts: list[tuple[str, float]]
    """Corruptions and severities that they were trained on, beside the source's own frames."""
    source_metric: float
    """The task's metric of the source model on held-out frames of other drifts, 0..1, each drift
    with norm statistics of its own."""
    prepared_metric: float
    """The same with the patches."""
    gflops: float
    """That their training took."""
    gate: list[GatePoint]
    """What the label-free gate is fitted to."""


class Manifest(StrictModel):
    """What a bundle holds."""

    format: Literal[5] = FORMAT
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
    prepared: dict[Task, PreparedEntry] = Field(default_factory=dict)
    """Patches for the first answer to a drift, by task; empty: a car waits for labels."""
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


def _from_format_3(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Format 3 knew no prepared patches."""
    return {**plain, "format": 4}


def _from_format_4(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Format 4 put each feature of the reference on a scale of its own; the file says which."""
    return {**plain, "format": 5}


_MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    1: _from_format_1,
    2: _from_format_2,
    3: _from_format_3,
    4: _from_format_4,
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


def read_manifest(text: bytes, path: Path) -> Manifest:
    """The manifest in `text`, which came from `path`.

    Raises:
        BundleError: with one sentence that says what is wrong.
    """
    try:
        plain = from_json(text)
    except ValueError as error:
        raise BundleError(f"bundle manifest {path} is not JSON: {error}") from error
    try:
        return Manifest.model_validate(_migrated(plain, path))
    except ValidationError as error:
        raise BundleError(f"bundle manifest {path}: {first_mistake(error, Manifest)}") from error
