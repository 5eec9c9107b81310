"""What a demo found out: `report.json` and the curves behind its plots."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, field_serializer

from patchline_ros.adaptation.episode_report import CurvePoint, EpisodeReport
from patchline_ros.demo.records import Split
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

    source: the clear frames. before, after: the same test frames of the drift with the source model
    and with what runs after the episode. test_frames: how many different ones. swapped: a patch set
    was accepted and runs.
    """

    metric: str
    source: float | None
    before: float | None
    after: float | None
    test_frames: int
    swapped: bool


class Latency(BaseModel):
    """Time from the camera's stamp to the arrival of the result, in milliseconds."""

    p50: float
    p95: float


class FramesReport(BaseModel):
    """Where the frames went. `processed` and `latency_ms` are keyed by node name."""

    published: int
    processed: dict[str, int]
    lost_during_swap: int
    latency_ms: dict[str, Latency]


class Report(BaseModel):
    """The whole of `report.json`."""

    headline: str
    source: SourceReport
    drift: DriftReport
    tasks: dict[Task, TaskReport]
    adaptation: EpisodeReport
    frames: FramesReport
    seed: int
    versions: dict[str, str]
    config: dict[str, Any]
    seconds: float

    @field_serializer("adaptation")
    def _shown(self, episode: EpisodeReport) -> dict[str, Any]:
        """What a reader of a demo's report asks for."""
        return episode.model_dump(mode="json", include=SHOWN)


class Segment(BaseModel):
    """A stretch of one curve within which nothing changed: rolling metric over the test frames."""

    split: Split
    patched: bool
    seconds: list[float]
    values: list[float]


class Timeline(BaseModel):
    """Curves over the drive; seconds count from the first published frame.

    switch: when the conditions changed. mmd2: readings as (second, value). curves: per task, one
    entry an epoch.
    """

    switch: float
    end: float
    detected: float | None
    swaps: dict[Task, float]
    mmd2: list[tuple[float, float]]
    threshold: float | None
    metrics: dict[Task, list[Segment]]
    curves: dict[Task, list[CurvePoint]]
