"""Where a running demo is, worked out from its two logs, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.episodes import Episodes
from patchline_ros.demo.failure import DemoFailedError
from patchline_ros.demo.records import CameraLine, Kind, Record, Split
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class Plan:
    """What is to come.

    Attributes:
        source_frames: of the drive.
        drift_frames: likewise, in a lap.
        test_shots: places of those that are for the test.
        tasks: those that some frame has a label for.
        answers: whether the bundle has patches that may answer without labels.
        trains: whether labels come, with which patches are trained.
    """

    source_frames: int
    drift_frames: int
    test_shots: frozenset[int]
    tasks: tuple[Task, ...]
    answers: bool = False
    trains: bool = True


LAPS_TO_DETECT = 2
LAPS_TO_COLLECT = 3
GRACE_FRAMES = 20
"""Frames for which an answer may still be under way."""


@dataclass
class Progress:
    """The state of the demo; `feed` it with the new lines of the logs."""

    plan: Plan
    ready: bool = False
    published: int = 0
    drift_published: int = 0
    position: CameraLine | None = None
    mmd2: float | None = None
    threshold: float | None = None
    false_alarms: int = 0
    frames_to_detect: int | None = None
    adaptation: dict[str, Any] = field(default_factory=dict)
    episodes: Episodes = field(default_factory=Episodes)
    patch_states: dict[Task, str] = field(default_factory=dict)
    patch_versions: dict[Task, int] = field(default_factory=dict)
    answered: dict[Task, set[int]] = field(default_factory=dict)
    _switch_ns: int | None = None
    _published_at_detection: int = 0
    _settled_ns: int | None = None
    _published_at_settled: int = 0
    _stamps: dict[int, CameraLine] = field(default_factory=dict)

    def feed(self, camera: Sequence[CameraLine], records: Sequence[Record]) -> None:
        """Take in new lines, the camera's first: a result can only follow its picture."""
        for line in camera:
            self._take_frame(line)
        for record in records:
            self._take_record(record)

    @property
    def last_episode(self) -> EpisodeReport | None:
        """The result after which nothing more is adapted; None where it is still to come."""
        return self.episodes.training if self.plan.trains else self.episodes.answer

    @property
    def settled(self) -> bool:
        """The last episode is over and every accepted patch set runs or was refused by its node."""
        return self._settled_ns is not None

    @property
    def remaining_tests(self) -> int:
        """Answers on test frames that are still missing since the episode settled."""
        return sum(
            len(self.plan.test_shots - self.answered.get(task, set())) for task in self.plan.tasks
        )

    def finished(self) -> bool:
        """Every test frame was answered by every node after the episode.

        A whole further lap is enough too: what is still missing then was lost.
        """
        if not self.settled:
            return False
        since = self.drift_published - self._published_at_settled
        return self.remaining_tests == 0 or since >= self.plan.drift_frames + GRACE_FRAMES

    def check(self) -> None:
        """Raise DemoFailedError when the demo cannot end well any more."""
        if self.adaptation.get("state") == "failed":
            raise DemoFailedError(f"The adaptation failed: {self.adaptation['reason']}")
        laps = self.drift_published / self.plan.drift_frames
        if self.frames_to_detect is None and laps >= LAPS_TO_DETECT:
            raise DemoFailedError(
                f"No drift was detected in {self.drift_published} frames after the change: MMD² is "
                f"{_number(self.mmd2)}, the threshold {_number(self.threshold)}."
            )
        waiting = self.adaptation.get("state", "idle") in ("idle", "collecting")
        since = self.drift_published - self._published_at_detection
        if (
            self.frames_to_detect is not None
            and self.last_episode is None
            and waiting
            and since >= LAPS_TO_COLLECT * self.plan.drift_frames
        ):
            if not self.plan.trains:
                raise DemoFailedError(
                    "Drift was detected, but the adapter did not answer it; see its log."
                )
            raise DemoFailedError(
                "Drift was detected, but the adapter did not start training: it has "
                f"{self.adaptation.get('collected', 0)} labels since the drift was last noticed. "
                "When it comes and goes in drift_monitor.log, give a stronger one; else label "
                "more of it."
            )

    def _take_frame(self, line: CameraLine) -> None:
        self.published += 1
        self.position = line
        self._stamps[line.stamp_ns] = line
        if line.split is not Split.SOURCE:
            self.drift_published += 1
            if self._switch_ns is None:
                self._switch_ns = line.stamp_ns

    def _take_record(self, record: Record) -> None:
        if record.kind is Kind.READY:
            self.ready = True
        elif record.kind is Kind.DRIFT:
            self._take_drift(record)
        elif record.kind is Kind.ADAPTATION:
            self.adaptation = record.payload
            if self.episodes.take(record, self._switch_ns):
                self._settle(record.stamp_ns)
        elif record.kind is Kind.PATCH and record.task is not None:
            self.patch_states[record.task] = record.payload["state"]
            self.patch_versions[record.task] = record.payload["version"]
            self._settle(record.stamp_ns)
        elif record.kind is Kind.RESULT and record.task is not None:
            line = self._stamps.get(record.stamp_ns)
            if (
                line is not None
                and line.split is Split.TEST
                and self._settled_ns is not None
                and line.stamp_ns > self._settled_ns
            ):
                self.answered.setdefault(record.task, set()).add(line.index)

    def _take_drift(self, record: Record) -> None:
        self.mmd2, self.threshold = record.payload["mmd2"], record.payload["threshold"]
        if not record.payload["drifting"] or self.frames_to_detect is not None:
            return
        if self._switch_ns is None or record.stamp_ns < self._switch_ns:
            self.false_alarms += 1
            return
        self.frames_to_detect = sum(
            self._switch_ns <= stamp <= record.stamp_ns for stamp in self._stamps
        )
        self._published_at_detection = self.drift_published

    def _settle(self, stamp_ns: int) -> None:
        if self._settled_ns is not None or self.last_episode is None:
            return
        accepted = [task for task, yes in self.last_episode.accepted.items() if yes]
        if all(self._decided(task) for task in accepted):
            self._settled_ns = stamp_ns
            self._published_at_settled = self.drift_published

    def _decided(self, task: Task) -> bool:
        """Whether the newest patch set of a task has run, or was refused by its node."""
        if self.patch_states.get(task) == "refused":
            return True
        return self.patch_versions.get(task, 0) >= self.episodes.version(task)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
