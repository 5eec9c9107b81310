"""What a demo found out: `report.json` and the curves behind its plots."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, field_serializer

from patchline_ros.adaptation.episode_report import CurvePoint, EpisodeReport
from patchline_ros.demo.episodes import Stage
from patchline_ros.tasks import Task

SHOWN: Final = {
    "patches",
    "order",
    "collected",
    "kept",
    "seconds",
    "train_gflops",
    "accepted",
    "warm_start",
    "gate",
}
"""Of the episode's report; `timeline.json` has its curves."""


class SourceReport(BaseModel):
    """What the camera played."""

    kind: str
    frames: int
    condition: str
    drift_frames: int


class DriftReport(BaseModel):
    """What the drift monitor said. MMD^2 values are medians over the phase, None where unknown."""

    mmd2_source: float | None
    mmd2_drift: float | None
    threshold: float | None
    frames_to_detect: int | None
    false_alarms: int


class TaskReport(BaseModel):
    """One task, in percent; None where the graph gave no result to measure.

    source: the clear frames. The others are on the same test frames of the drift. before: the
    source model, asked after the drive. answered: what answered without labels, likewise; None
    where that was nothing. after: what ran at last, as the graph published it. test_frames: how
    many different ones. swapped: a patch set was accepted and runs.
    """

    metric: str
    source: float | None
    before: float | None
    answered: float | None = None
    after: float | None
    test_frames: int
    swapped: bool


class TaskAnswer(BaseModel):
    """The answer without labels of one task, in percentage points of its metric.

    candidate: what it was, of what a car tries without labels. predicted: gain over the source
    model that the label-free gate predicted, give or take `error`. gain: the true one, on the test
    frames; None where the answer was refused. taken_back: why its node went back to the source
    model, in a sentence; empty where it did not.
    """

    candidate: str
    predicted: float
    error: float
    gain: float | None
    accepted: bool
    taken_back: str = ""


class AnswerReport(BaseModel):
    """What prepared patches and norm statistics did without labels.

    seconds_to_swap: from the reading that noticed the drift to the first swap; None without one.
    """

    seconds_to_swap: float | None
    tasks: dict[Task, TaskAnswer]

    @property
    def swapped(self) -> list[Task]:
        """The tasks that were answered."""
        return [task for task, answer in self.tasks.items() if answer.accepted]


class Latency(BaseModel):
    """Time from the camera's stamp to the arrival of the result, in milliseconds."""

    p50: float
    p95: float


class FramesReport(BaseModel):
    """Where the frames went. `processed` and `latency_ms` are keyed by node name."""

    published: int
    processed: dict[str, int]
    lost_during_swap: int
    """Without an answer around a swap, beyond the share that was skipped just before it."""
    skipped_during_swap: int = 0
    """The others without an answer around a swap: their nodes were busy, as before it."""
    latency_ms: dict[str, Latency]


class Report(BaseModel):
    """The whole of `report.json`.

    answer: None where the bundle has no prepared patches. adaptation: the training; None where it
    was done without.
    """

    headline: str
    source: SourceReport
    drift: DriftReport
    tasks: dict[Task, TaskReport]
    answer: AnswerReport | None = None
    adaptation: EpisodeReport | None
    frames: FramesReport
    seed: int
    versions: dict[str, str]
    config: dict[str, Any]
    seconds: float

    @field_serializer("adaptation")
    def _shown(self, episode: EpisodeReport | None) -> dict[str, Any] | None:
        """What a reader of a demo's report asks for."""
        return None if episode is None else episode.model_dump(mode="json", include=SHOWN)


class Segment(BaseModel):
    """A stretch of one curve within which nothing changed: rolling metric over the test frames."""

    stage: Stage
    seconds: list[float]
    values: list[float]


class Swap(BaseModel):
    """When a patch set was swapped in, and of which stage it is the beginning."""

    second: float
    stage: Stage


class Timeline(BaseModel):
    """Curves over the drive; seconds count from the first published frame.

    switch: when the conditions changed. mmd2: readings as (second, value). curves: per task, one
    entry an epoch.
    """

    switch: float
    end: float
    detected: float | None
    swaps: dict[Task, list[Swap]]
    mmd2: list[tuple[float, float]]
    threshold: float | None
    metrics: dict[Task, list[Segment]]
    curves: dict[Task, list[CurvePoint]]
