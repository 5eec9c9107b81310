"""What became of each task in an episode: episode.json, and `episode_json` of AdaptationStatus."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.adaptation.patch_choice import PatchChoice
from patchline_ros.tasks import Task

Basis = Literal["labels", "prediction"]
"""What a decision rests on: labelled frames, or what the label-free gate predicts."""


class GateScores(BaseModel):
    """What the gate decided by."""

    model_config = ConfigDict(frozen=True)

    before: float
    """Metric of the running model, 0..1."""
    after: float
    """Metric of the candidate."""
    error: float
    """Standard error of their difference."""
    frames: int
    """On which both were scored."""
    source_before: float | None = None
    """Metric of the source model on the bundle's source frames; None where it has none, or the
    candidate was refused before that."""
    source_after: float | None = None
    """Metric of the candidate there, with the source's norm statistics."""
    norm_only: float | None = None
    """On the held-out frames, with re-estimated norm statistics and nothing trained; None where
    nothing was trained because the drift was known."""
    best_epoch: int | None = None
    """Whose state was kept, 0 being the one before any training; None likewise."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class CurvePoint(BaseModel):
    """An epoch of a training."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    loss: float
    """Mean over the epoch."""
    metric: float
    """On the held-out frames after it."""


class EpisodeReport(BaseModel):
    """What becomes of each task; it is filled in while the episode goes on.

    What is not known here is left out when a report is read: later versions may say more.
    """

    basis: Basis = "labels"
    """What the decisions rest on: labelled frames, or what is predicted from unlabelled ones."""
    predicted: dict[Task, PredictedGain] = Field(default_factory=dict)
    """What the label-free gate decided by."""
    candidates: dict[Task, str] = Field(default_factory=dict)
    """What it judged so, of what a car tries without labels: the one with the best prospects."""
    patches: int = 0
    """Of each patched model; 0 where nothing was trained."""
    patch_choice: PatchChoice | None = None
    """What chose the number of patches, and what that cost; None where kept patch sets were
    verified."""
    order: list[Task] = Field(default_factory=list)
    """In which the tasks were trained, or verified."""
    collected: dict[Task, int] = Field(default_factory=dict)
    """Labelled frames that may be trained on, or unlabelled ones that were looked at."""
    kept: dict[Task, int] = Field(default_factory=dict)
    """Of these, those that were."""
    since_ns: int
    until_ns: int = 0
    mmd2: float = 0.0
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    """Of the libraries."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the trainings."""
    seconds: dict[Task, float] = Field(default_factory=dict)
    """Of training and gate, or of the verification."""
    train_gflops: dict[Task, float] = Field(default_factory=dict)
    accepted: dict[Task, bool]
    warm_start: dict[Task, Task] = Field(default_factory=dict)
    """Whose patches a task's training began from."""
    gate: dict[Task, GateScores] = Field(default_factory=dict)
    curves: dict[Task, list[CurvePoint]] = Field(default_factory=dict)
    bank_entry: str = ""
    """Of the earlier drift whose patch sets were candidates; empty where it was like none."""

    def as_json(self, indent: int | None = None) -> str:
        """The report as it is published and kept."""
        return json.dumps(self.model_dump(mode="json"), indent=indent)
