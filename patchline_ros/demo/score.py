"""What the logs of a demo say: metrics on the same test frames in each stage, and the curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from patchline_ros.demo.episodes import Episodes, Stage
from patchline_ros.demo.logs import SECOND, Answer, Logs, read_label
from patchline_ros.demo.records import Record, Split
from patchline_ros.demo.result import (
    AnswerReport,
    DriftReport,
    FramesReport,
    Latency,
    Segment,
    Swap,
    TaskAnswer,
    TaskReport,
    Timeline,
)
from patchline_ros.demo.second_look import Said
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.tasks import Label, Task
from patchline_ros.vision.metrics import score

AFTER_SWAP_NS = SECOND
"""Time after a swap in which a missing result still counts as lost during it."""
LEAST_BEFORE_SWAP = 20
"""Frames before a swap, at least, that say how many are skipped anyway."""
ROLLING = 12
"""Test frames under one point of a metric's curve."""
POINTS = 16
"""Points in a stretch of a curve, at most about so many."""


class Scorer:
    """Measures answers against the labels of the drive."""

    def __init__(
        self,
        logs: Logs,
        episodes: Episodes,
        truth: Mapping[int, Mapping[Task, Label]],
        said: Said,
        classes: Mapping[Task, int],
    ) -> None:
        """Nothing is measured yet.

        Args:
            logs: what the graph said.
            episodes: which patch sets came of what.
            truth: labels by place in the drive.
            said: what models say of the test frames when they are asked after the drive.
            classes: the number of classes of each task.
        """
        self._logs = logs
        self._episodes = episodes
        self._truth = truth
        self._said = said
        self._classes = classes

    def task(self, task: Task) -> TaskReport:
        """The figures of one task.

        Those of the changed road are over the same pictures: the test frames that the graph
        answered with what ran at last, each picture once. Where no patch set was swapped in, that
        is still the source model.
        """
        after = self._last_answers(task)
        return TaskReport(
            metric=task.traits.metric,
            source=self._percent(task, list(_once(self._of(task, Split.SOURCE), task).values())),
            before=self._percent_of_said("before", task, after),
            answered=self._percent_of_said("answered", task, after),
            after=self._percent(task, list(after.values())),
            test_frames=len(after),
            swapped=bool(self._logs.swaps(task)),
        )

    def examples(self, task: Task) -> tuple[dict[str, Label], dict[str, Label], dict[str, Label]]:
        """What was said by picture: on the clear road, by the source model, by what ran at last."""
        clear = _once(self._of(task, Split.SOURCE), task)
        after = self._last_answers(task)
        return self._read(clear), self._said["before"].get(task, {}), self._read(after)

    def _read(self, answers: Mapping[str, Answer]) -> dict[str, Label]:
        return {name: read_label(answer, self._logs.folder) for name, answer in answers.items()}

    def segments(self, task: Task) -> list[Segment]:
        """The rolling metric over source and test frames; a new segment wherever the model changes.

        Frames whose labels went to the adapter are left out.
        """
        stretches: list[list[Answer]] = []
        for answer in self._logs.answers[task]:
            if answer.line.split is Split.ADAPT or answer.version is None:
                continue
            last = stretches[-1][-1] if stretches else None
            if last is None or self._stage(last) != self._stage(answer):
                stretches.append([])
            stretches[-1].append(answer)
        return [self._segment(task, stretch) for stretch in stretches]

    def _segment(self, task: Task, stretch: list[Answer]) -> Segment:
        step = max(1, len(stretch) // POINTS)
        ends = range(min(ROLLING, len(stretch)), len(stretch) + 1, step)
        windows = [stretch[max(0, end - ROLLING) : end] for end in ends]
        values = [self._percent(task, window) for window in windows]
        return Segment(
            stage=self._stage(stretch[0]),
            seconds=[self._logs.second(window[-1].line.stamp_ns) for window in windows],
            values=[value for value in values if value is not None],
        )

    def _stage(self, answer: Answer) -> Stage:
        if answer.line.split is Split.SOURCE:
            return "source"
        return self._episodes.stage(answer.task, answer.version or 0)

    def _last_answers(self, task: Task) -> dict[str, Answer]:
        """The first answer about each test picture by the patch set that was swapped in last.

        Without one those of the later laps, which came after the adapter had decided.
        """
        tests = self._of(task, Split.TEST)
        swaps = self._logs.swaps(task)
        if not swaps:
            return _once((answer for answer in tests if answer.line.lap > 0), task)
        version = swaps[-1].payload["version"]
        return _once((answer for answer in tests if answer.version == version), task)

    def _of(self, task: Task, split: Split) -> list[Answer]:
        return [answer for answer in self._logs.answers[task] if answer.line.split is split]

    def _percent(self, task: Task, answers: Sequence[Answer]) -> float | None:
        labelled = [answer for answer in answers if task in self._truth[answer.line.index]]
        predicted = [read_label(answer, self._logs.folder) for answer in labelled]
        return self._score(task, predicted, labelled)

    def _percent_of_said(
        self, stage: Stage, task: Task, pictures: Mapping[str, Answer]
    ) -> float | None:
        """Of what was said later of the pictures that these answers are about."""
        said = self._said.get(stage, {}).get(task, {})
        known = [(said[name], answer) for name, answer in pictures.items() if name in said]
        return self._score(task, [label for label, _ in known], [answer for _, answer in known])

    def _score(
        self, task: Task, predicted: Sequence[Label], about: Sequence[Answer]
    ) -> float | None:
        """In percent; `about` are answers about the same pictures, which know their labels."""
        truth = [self._truth[answer.line.index][task] for answer in about]
        return 100 * score(task, self._classes[task], predicted, truth) if truth else None


def _once(answers: Iterable[Answer], task: Task) -> dict[str, Answer]:
    """The first answer about each different picture, by the picture's name."""
    first: dict[str, Answer] = {}
    for answer in answers:
        first.setdefault(answer.line.names[task], answer)
    return first


def score_drift(logs: Logs) -> DriftReport:
    """What the drift monitor said before and after the change."""
    switch_ns, noticed = logs.switch_ns, logs.noticed
    swapped = [swaps[-1].stamp_ns for task in Task if (swaps := logs.swaps(task))]
    swapped_ns = min(swapped, default=None)
    calm, drifted = [], []
    for record in logs.drift:
        if switch_ns is None or record.stamp_ns < switch_ns:
            calm.append(record)
        elif swapped_ns is None or record.stamp_ns < swapped_ns:
            drifted.append(record)
    return DriftReport(
        mmd2_source=_median_mmd2(calm),
        # The first readings after the change still have frames from before it in their window.
        mmd2_drift=_median_mmd2(drifted[-max(1, len(drifted) // 2) :]),
        threshold=logs.drift[-1].payload["threshold"] if logs.drift else None,
        frames_to_detect=None
        if noticed is None or switch_ns is None
        else sum(switch_ns <= line.stamp_ns <= noticed.stamp_ns for line in logs.camera),
        false_alarms=sum(bool(record.payload["drifting"]) for record in calm),
    )


def _median_mmd2(records: Sequence[Record]) -> float | None:
    return float(np.median([record.payload["mmd2"] for record in records])) if records else None


def score_frames(logs: Logs) -> FramesReport:
    """Frames published and answered, and how long an answer took."""
    swaps = [_lost_and_skipped(logs, task, swap) for task in Task for swap in logs.swaps(task)]
    return FramesReport(
        published=len(logs.camera),
        processed={NODE_OF_TASK[task]: len(answers) for task, answers in logs.answers.items()},
        lost_during_swap=sum(lost for lost, _ in swaps),
        skipped_during_swap=sum(skipped for _, skipped in swaps),
        latency_ms={
            NODE_OF_TASK[task]: Latency(
                p50=float(np.percentile(values, 50)), p95=float(np.percentile(values, 95))
            )
            for task, values in logs.latencies_ms.items()
        },
    )


def _lost_and_skipped(logs: Logs, task: Task, swap: Record) -> tuple[int, int]:
    """Frames without an answer from when the patch set arrived until a second after the swap.

    A node that is too busy skips frames all the time, since it takes the newest one. What is
    missing around the swap beyond the share that was missing just before it, and beyond what chance
    adds to that share (two standard deviations), was lost to the swap; the rest was skipped.
    """
    arrived_ns = swap.stamp_ns - round(
        (swap.payload["build_seconds"] + swap.payload["swap_seconds"]) * SECOND
    )
    answered = {answer.line.stamp_ns for answer in logs.answers[task]}
    end_ns = swap.stamp_ns + AFTER_SWAP_NS
    during = [line.stamp_ns for line in logs.camera if arrived_ns <= line.stamp_ns < end_ns]
    before = [line.stamp_ns for line in logs.camera if line.stamp_ns < arrived_ns]
    before = before[-max(len(during), LEAST_BEFORE_SWAP) :]
    missing = sum(stamp_ns not in answered for stamp_ns in during)
    share = float(np.mean([stamp_ns not in answered for stamp_ns in before])) if before else 0.0
    usual = len(during) * share
    if missing <= usual + 2 * np.sqrt(usual * (1 - share)):
        return 0, missing
    lost = missing - int(usual)
    return lost, missing - lost


def score_answer(
    logs: Logs, episodes: Episodes, tasks: Mapping[Task, TaskReport]
) -> AnswerReport | None:
    """What the answer without labels was predicted to gain, and did; None where none was given."""
    if episodes.answer is None:
        return None
    swapped = [
        swap.stamp_ns
        for task, version in episodes.versions.items()
        for swap in logs.swaps(task)
        if swap.payload["version"] == version
    ]
    noticed = logs.noticed
    return AnswerReport(
        seconds_to_swap=(min(swapped) - noticed.stamp_ns) / SECOND if noticed and swapped else None,
        tasks={
            task: TaskAnswer(
                candidate=episodes.answer.candidates[task],
                predicted=100 * predicted.gain,
                error=100 * predicted.error,
                gain=_gain(tasks.get(task)),
                accepted=task in episodes.versions,
                taken_back=_taken_back(logs, task, episodes.versions.get(task, 0)),
            )
            for task, predicted in episodes.answer.predicted.items()
        },
    )


def _gain(row: TaskReport | None) -> float | None:
    """Of the answer over the source model, in percentage points."""
    if row is None or row.answered is None or row.before is None:
        return None
    return row.answered - row.before


def _taken_back(logs: Logs, task: Task, version: int) -> str:
    """Why the node removed this patch set from its running model; empty where it did not."""
    own = [record for record in logs.patches if record.task is task]
    for swap, following in pairwise(own):
        if swap.payload["version"] == version and following.payload["state"] == "removed":
            return str(following.payload["reason"])
    return ""


def draw_timeline(
    logs: Logs, episodes: Episodes, scorer: Scorer, tasks: Iterable[Task]
) -> Timeline:
    """The curves of the drive for these tasks, and those of the training."""
    drift, switch_ns, noticed = score_drift(logs), logs.switch_ns, logs.noticed
    end = logs.second(logs.camera[-1].stamp_ns)
    return Timeline(
        switch=end if switch_ns is None else logs.second(switch_ns),
        end=end,
        detected=None if noticed is None else logs.second(noticed.stamp_ns),
        swaps={
            task: [
                Swap(
                    second=logs.second(swap.stamp_ns),
                    stage=episodes.stage(task, swap.payload["version"]),
                )
                for swap in logs.swaps(task)
            ]
            for task in Task
        },
        mmd2=[(logs.second(record.stamp_ns), record.payload["mmd2"]) for record in logs.drift],
        threshold=drift.threshold,
        metrics={task: scorer.segments(task) for task in tasks},
        curves=episodes.training.curves if episodes.training else {},
    )
