"""What the logs of a demo say: metrics on the same test frames before and after, and the curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patchline_ros.adaptation.episode_report import CurvePoint
from patchline_ros.demo.records import CameraLine, Kind, Record, Split
from patchline_ros.demo.result import (
    DriftReport,
    FramesReport,
    Latency,
    Segment,
    TaskReport,
    Timeline,
)
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.tasks import Boxes, Label, Task
from patchline_ros.vision.metrics import score

SECOND = 1_000_000_000
AFTER_SWAP_NS = SECOND
"""Time after a swap in which a missing result still counts as lost during it."""
ROLLING = 12
"""Test frames under one point of a metric's curve."""
POINTS = 16
"""Points in a stretch of a curve, at most about so many."""


@dataclass(frozen=True)
class Answer:
    """One result: what a node said about a published frame, and whether a patch set ran then.

    `patched` is None when the features that tell it did not arrive.
    """

    line: CameraLine
    task: Task
    payload: Mapping[str, Any]
    patched: bool | None


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

    def swaps(self) -> dict[Task, Record]:
        """The last record of each task that says a patch set became active."""
        return {
            record.task: record
            for record in self.patches
            if record.task is not None and record.payload["state"] == "active"
        }


def sort_logs(camera: Sequence[CameraLine], records: Sequence[Record], folder: Path) -> Logs:
    """Bring the lines of both logs together by stamp; `folder` holds their files.

    A result whose stamp no published frame has is not counted. Raises ValueError when nothing was
    published.
    """
    if not camera:
        raise ValueError("the camera published nothing, so there is nothing to score")
    lines = {line.stamp_ns: line for line in camera}
    logs = Logs(folder=folder, camera=list(camera), answers={task: [] for task in Task})
    patched = {
        (record.task, record.stamp_ns): record.payload["patch_version"] > 0
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
            ran = patched.get((record.task, record.stamp_ns))
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


class Scorer:
    """Measures answers against the labels of the drive."""

    def __init__(
        self,
        logs: Logs,
        truth: Mapping[int, Mapping[Task, Label]],
        classes: Mapping[Task, int],
    ) -> None:
        """truth: labels by place in the drive. classes: the number of classes of each task."""
        self._logs = logs
        self._truth = truth
        self._classes = classes

    def task(self, task: Task) -> TaskReport:
        """The three figures of one task.

        Before and after are over the same pictures: those test frames that have an answer of the
        source model and one of what ran after the episode, each picture once. Where no patch set
        was swapped in, what runs after is still the source model.
        """
        swap = self._logs.swaps().get(task)
        source = _once(self._of(task, Split.SOURCE), task)
        before, after = self._test_answers(task, swap is not None)
        paired = [name for name in before if name in after]
        return TaskReport(
            metric=task.traits.metric,
            source=self._percent(task, list(source.values())),
            before=self._percent(task, [before[name] for name in paired]),
            after=self._percent(task, [after[name] for name in paired]),
            test_frames=len(paired),
            swapped=swap is not None,
        )

    def examples(
        self, task: Task
    ) -> tuple[dict[str, Answer], dict[str, Answer], dict[str, Answer]]:
        """First answers by picture: on the clear road, before the episode and after it."""
        clear = _once(self._of(task, Split.SOURCE), task)
        return (clear, *self._test_answers(task, task in self._logs.swaps()))

    def segments(self, task: Task) -> list[Segment]:
        """The rolling metric over source and test frames; a new segment wherever the model changes.

        Frames whose labels went to the adapter are left out.
        """
        stretches: list[list[Answer]] = []
        for answer in self._logs.answers[task]:
            if answer.line.split is Split.ADAPT or answer.patched is None:
                continue
            last = stretches[-1][-1] if stretches else None
            if (
                last is None
                or last.line.split is not answer.line.split
                or last.patched is not answer.patched
            ):
                stretches.append([])
            stretches[-1].append(answer)
        return [self._segment(task, stretch) for stretch in stretches]

    def _segment(self, task: Task, stretch: list[Answer]) -> Segment:
        step = max(1, len(stretch) // POINTS)
        ends = range(min(ROLLING, len(stretch)), len(stretch) + 1, step)
        windows = [stretch[max(0, end - ROLLING) : end] for end in ends]
        values = [self._percent(task, window) for window in windows]
        return Segment(
            split=stretch[0].line.split,
            patched=bool(stretch[0].patched),
            seconds=[self._logs.second(window[-1].line.stamp_ns) for window in windows],
            values=[value for value in values if value is not None],
        )

    def _test_answers(
        self, task: Task, swapped: bool
    ) -> tuple[dict[str, Answer], dict[str, Answer]]:
        tests = self._of(task, Split.TEST)
        before = _once((answer for answer in tests if answer.patched is False), task)
        if swapped:
            after = _once((answer for answer in tests if answer.patched), task)
        else:
            later = [answer for answer in tests if answer.line.lap > 0]
            after = _once(later, task)
        return before, after

    def _of(self, task: Task, split: Split) -> list[Answer]:
        return [answer for answer in self._logs.answers[task] if answer.line.split is split]

    def _percent(self, task: Task, answers: Sequence[Answer]) -> float | None:
        labelled = [answer for answer in answers if task in self._truth[answer.line.index]]
        if not labelled:
            return None
        truth = [self._truth[answer.line.index][task] for answer in labelled]
        predicted = [read_label(answer, self._logs.folder) for answer in labelled]
        return 100 * score(task, self._classes[task], predicted, truth)


def _once(answers: Iterable[Answer], task: Task) -> dict[str, Answer]:
    """The first answer about each different picture, by the picture's name."""
    first: dict[str, Answer] = {}
    for answer in answers:
        first.setdefault(answer.line.names[task], answer)
    return first


def score_drift(logs: Logs) -> DriftReport:
    """What the drift monitor said before and after the change."""
    switch_ns = logs.switch_ns
    swapped_ns = min((record.stamp_ns for record in logs.swaps().values()), default=None)
    calm, drifted = [], []
    for record in logs.drift:
        if switch_ns is None or record.stamp_ns < switch_ns:
            calm.append(record)
        elif swapped_ns is None or record.stamp_ns < swapped_ns:
            drifted.append(record)
    detection = next((record for record in drifted if record.payload["drifting"]), None)
    return DriftReport(
        mmd2_source=_median_mmd2(calm),
        # The first readings after the change still have frames from before it in their window.
        mmd2_drift=_median_mmd2(drifted[-max(1, len(drifted) // 2) :]),
        threshold=logs.drift[-1].payload["threshold"] if logs.drift else None,
        frames_to_detect=None
        if detection is None or switch_ns is None
        else sum(switch_ns <= line.stamp_ns <= detection.stamp_ns for line in logs.camera),
        false_alarms=sum(bool(record.payload["drifting"]) for record in calm),
    )


def _median_mmd2(records: Sequence[Record]) -> float | None:
    return float(np.median([record.payload["mmd2"] for record in records])) if records else None


def score_frames(logs: Logs) -> FramesReport:
    """Frames published and answered, and how long an answer took."""
    return FramesReport(
        published=len(logs.camera),
        processed={NODE_OF_TASK[task]: len(answers) for task, answers in logs.answers.items()},
        lost_during_swap=sum(_lost(logs, task, record) for task, record in logs.swaps().items()),
        latency_ms={
            NODE_OF_TASK[task]: Latency(
                p50=float(np.percentile(values, 50)), p95=float(np.percentile(values, 95))
            )
            for task, values in logs.latencies_ms.items()
        },
    )


def _lost(logs: Logs, task: Task, swap: Record) -> int:
    """Frames without an answer from when the patch set arrived until a second after the swap."""
    arrived_ns = swap.stamp_ns - round(
        (swap.payload["build_seconds"] + swap.payload["swap_seconds"]) * SECOND
    )
    answered = {answer.line.stamp_ns for answer in logs.answers[task]}
    window = range(arrived_ns, swap.stamp_ns + AFTER_SWAP_NS)
    return sum(line.stamp_ns in window and line.stamp_ns not in answered for line in logs.camera)


def draw_timeline(
    logs: Logs, scorer: Scorer, tasks: Iterable[Task], curves: dict[Task, list[CurvePoint]]
) -> Timeline:
    """The curves of the drive for these tasks; `curves` are the training curves of the episode."""
    drift = score_drift(logs)
    switch_ns = logs.switch_ns
    detection = next(
        (
            record
            for record in logs.drift
            if switch_ns is not None and record.stamp_ns >= switch_ns and record.payload["drifting"]
        ),
        None,
    )
    end = logs.second(logs.camera[-1].stamp_ns)
    return Timeline(
        switch=end if switch_ns is None else logs.second(switch_ns),
        end=end,
        detected=None if detection is None else logs.second(detection.stamp_ns),
        swaps={task: logs.second(record.stamp_ns) for task, record in logs.swaps().items()},
        mmd2=[(logs.second(record.stamp_ns), record.payload["mmd2"]) for record in logs.drift],
        threshold=drift.threshold,
        metrics={task: scorer.segments(task) for task in tasks},
        curves=curves,
    )
