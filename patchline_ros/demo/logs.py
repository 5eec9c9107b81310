"""The two logs of a demo, sorted by what their lines are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patchline_ros.demo.episodes import Episodes
from patchline_ros.demo.records import CameraLine, Kind, Record, Split
from patchline_ros.tasks import Boxes, Label, Task

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Answer:
    """One result: what a node said about a published frame, and which patch set ran then.

    `version` is that of the patch set, 0 for the source model, None when the features that tell it
    did not arrive.
    """

    line: CameraLine
    task: Task
    payload: Mapping[str, Any]
    version: int | None


@dataclass
class Logs:
    """The two logs, sorted by what they are about; `folder` holds the files they name."""

    folder: Path
    camera: list[CameraLine]
    answers: dict[Task, list[Answer]]
    drift: list[Record] = field(default_factory=list)
    patches: list[Record] = field(default_factory=list)
    adaptation: list[Record] = field(default_factory=list)
    latencies_ms: dict[Task, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def start_ns(self) -> int:
        """Stamp of the first published frame."""
        return self.camera[0].stamp_ns

    @property
    def switch_ns(self) -> int | None:
        """Stamp of the first frame of the drift, None when none was published."""
        stamps = (line.stamp_ns for line in self.camera if line.split is not Split.SOURCE)
        return next(stamps, None)

    def second(self, stamp_ns: int) -> float:
        """Seconds since the first published frame."""
        return (stamp_ns - self.start_ns) / SECOND

    @property
    def noticed(self) -> Record | None:
        """The first reading after the change that says the road is another one."""
        switch_ns = self.switch_ns
        if switch_ns is None:
            return None
        later = (record for record in self.drift if record.stamp_ns >= switch_ns)
        return next((record for record in later if record.payload["drifting"]), None)

    def swaps(self, task: Task) -> list[Record]:
        """The records that say a patch set of this task became active, in their order."""
        own = (record for record in self.patches if record.task is task)
        return [record for record in own if record.payload["state"] == "active"]


def sort_logs(camera: Sequence[CameraLine], records: Sequence[Record], folder: Path) -> Logs:
    """Bring the lines of both logs together by stamp; `folder` holds their files.

    A result whose stamp no published frame has is not counted. Raises ValueError when nothing was
    published.
    """
    if not camera:
        raise ValueError("the camera published nothing, so there is nothing to score")
    lines = {line.stamp_ns: line for line in camera}
    logs = Logs(folder=folder, camera=list(camera), answers={task: [] for task in Task})
    versions = {
        (record.task, record.stamp_ns): int(record.payload["patch_version"])
        for record in records
        if record.kind is Kind.FEATURES
    }
    for record in records:
        if record.kind is Kind.DRIFT:
            logs.drift.append(record)
        elif record.kind is Kind.PATCH:
            logs.patches.append(record)
        elif record.kind is Kind.ADAPTATION:
            logs.adaptation.append(record)
        elif record.kind is Kind.RESULT and record.task is not None and record.stamp_ns in lines:
            line = lines[record.stamp_ns]
            ran = versions.get((record.task, record.stamp_ns))
            logs.answers[record.task].append(Answer(line, record.task, record.payload, ran))
            latency = (record.received_ns - record.stamp_ns) / 1e6
            logs.latencies_ms[record.task].append(latency)
    return logs


def read_label(answer: Answer, folder: Path) -> Label:
    """What the node answered; ValueError names a mask file that cannot be read."""
    payload = answer.payload
    if answer.task is Task.CLASSIFICATION:
        return int(payload["label"])
    if answer.task is Task.DETECTION:
        return Boxes(
            boxes=np.asarray(payload["boxes"], dtype=np.float32).reshape(-1, 4),
            labels=np.asarray(payload["labels"], dtype=np.int64),
            scores=np.asarray(payload["scores"], dtype=np.float32),
        )
    path = folder / payload["mask"]
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise ValueError(f"the lane mask {path} cannot be read; it is part of the demo's folder")
    return np.asarray(mask, dtype=np.uint8)


def ended_episodes(logs: Logs) -> Episodes:
    """The episodes that ended in the drive."""
    episodes = Episodes()
    for status in logs.adaptation:
        episodes.take(status, logs.switch_ns)
    return episodes
