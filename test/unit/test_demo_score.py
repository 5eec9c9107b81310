"""The score of a demo, from logs written by hand whose figures are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from patchline_ros.adaptation.episode_report import CurvePoint
from patchline_ros.demo.records import (
    CAMERA_LOG,
    CameraLine,
    Kind,
    LineReader,
    LineWriter,
    Record,
    Split,
)
from patchline_ros.demo.score import (
    SECOND,
    Logs,
    Scorer,
    draw_timeline,
    score_drift,
    score_frames,
    sort_logs,
)
from patchline_ros.tasks import Boxes, Label, Task

STEP = SECOND // 4
SOURCE, TESTS, ADAPT = (0, 1), (2, 3, 4, 5), (6, 7)
"""Places in a drive of two clear frames, then four test and two adapt frames, played twice."""
BOX = [10.0, 10.0, 30.0, 30.0]


def split_of(index: int) -> Split:
    return Split.SOURCE if index in SOURCE else Split.TEST if index in TESTS else Split.ADAPT


def camera() -> list[CameraLine]:
    order = [(0, index) for index in range(8)] + [(1, index) for index in range(2, 8)]
    return [
        CameraLine(
            index=index,
            stamp_ns=(place + 1) * STEP,
            names=dict.fromkeys(Task, f"frame-{index}"),
            lap=lap,
            condition="night",
            split=split_of(index),
            labelled=[],
        )
        for place, (lap, index) in enumerate(order)
    ]


def truth() -> dict[int, dict[Task, Label]]:
    lanes = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    return {
        index: {
            Task.CLASSIFICATION: 1,
            Task.DETECTION: Boxes.truth([BOX], [0]),
            Task.SEGMENTATION: lanes,
        }
        for index in (*SOURCE, *TESTS)
    }


def results(folder: Path, unanswered: frozenset[tuple[int, int]] = frozenset()) -> list[Record]:
    """All right in clear weather; at night signs are right once in four, with patches thrice."""
    found = []
    for line in camera():
        if (line.lap, line.index) in unanswered:
            continue
        patched = line.lap == 1
        sign = 1 if line.index in SOURCE or line.index == 2 or (patched and line.index < 5) else 0
        good = line.index in SOURCE or patched
        box = BOX if good else [40.0, 40.0, 50.0, 50.0]
        mask = np.array([[0, 0], [1, 1]] if good else [[0, 0], [0, 0]], dtype=np.uint8)
        cv2.imwrite(str(folder / f"{line.stamp_ns}.png"), mask)
        payloads = {
            Task.CLASSIFICATION: {"label": sign, "score": 0.9},
            Task.DETECTION: {"boxes": [box], "labels": [0], "scores": [0.9]},
            Task.SEGMENTATION: {"mask": f"{line.stamp_ns}.png"},
        }
        for task, payload in payloads.items():
            for kind, said in (
                (Kind.RESULT, payload),
                (Kind.FEATURES, {"entropy": 0.1, "patch_version": int(patched)}),
            ):
                found.append(
                    Record(
                        kind=kind,
                        task=task,
                        stamp_ns=line.stamp_ns,
                        received_ns=line.stamp_ns + 20_000_000,
                        payload=said,
                    )
                )
    return found


def statuses() -> list[Record]:
    """Drift from the fourth frame after the change on; a swap just before the second lap."""
    drift = [
        Record(
            kind=Kind.DRIFT,
            stamp_ns=line.stamp_ns,
            received_ns=line.stamp_ns,
            payload={"mmd2": mmd2, "threshold": 0.2, "p_value": 0.5, "drifting": mmd2 > 0.2},
        )
        for line, mmd2 in zip(camera(), [0.0, 0.02, 0.05, 0.1, 0.15, 0.4, 0.5, 0.6], strict=False)
    ]
    swap = {"state": "active", "version": 1, "build_seconds": 0.3, "swap_seconds": 0.0}
    swapped_ns = 8 * STEP + STEP // 2
    patches = [
        Record(
            kind=Kind.PATCH, task=task, stamp_ns=swapped_ns, received_ns=swapped_ns, payload=swap
        )
        for task in Task
    ]
    return drift + patches


CLASSES = {Task.CLASSIFICATION: 3, Task.DETECTION: 1, Task.SEGMENTATION: 2}


def logs(folder: Path, unanswered: frozenset[tuple[int, int]] = frozenset()) -> Logs:
    return sort_logs(camera(), results(folder, unanswered) + statuses(), folder)


def test_metrics_are_those_of_the_records(tmp_path: Path) -> None:
    scorer = Scorer(logs(tmp_path), truth(), CLASSES)
    signs, objects, lanes = (scorer.task(task) for task in Task)
    assert (signs.source, signs.before, signs.after) == (100.0, 25.0, 75.0)
    assert (objects.source, objects.before, objects.after) == (
        pytest.approx(100),
        0.0,
        pytest.approx(100),
    )
    assert (lanes.source, lanes.before, lanes.after) == (100.0, 25.0, 100.0)
    assert [row.test_frames for row in (signs, objects, lanes)] == [4, 4, 4]
    assert all(row.swapped for row in (signs, objects, lanes))


def test_before_and_after_are_over_the_same_frames(tmp_path: Path) -> None:
    """Without its answer after the swap a frame does not count before it either."""
    row = Scorer(logs(tmp_path, frozenset({(1, 2)})), truth(), CLASSES).task(Task.CLASSIFICATION)
    assert row.test_frames == 3
    assert (row.before, row.after) == (0.0, pytest.approx(200 / 3))


def test_without_a_swap_later_laps_are_what_came_after(tmp_path: Path) -> None:
    records = [
        record.model_copy(update={"payload": {**record.payload, "patch_version": 0}})
        if record.kind is Kind.FEATURES
        else record
        for record in results(tmp_path)
    ]
    row = Scorer(sort_logs(camera(), records, tmp_path), truth(), CLASSES).task(Task.CLASSIFICATION)
    assert (row.before, row.after, row.swapped) == (25.0, 75.0, False)


def test_drift_is_counted_in_frames_from_the_change(tmp_path: Path) -> None:
    drift = score_drift(logs(tmp_path))
    assert drift.frames_to_detect == 4
    assert drift.false_alarms == 0
    assert drift.threshold == 0.2
    assert drift.mmd2_source == pytest.approx(0.01)
    assert drift.mmd2_drift == pytest.approx(0.5)


def test_lost_frames_are_those_around_a_swap(tmp_path: Path) -> None:
    """The answers missing in lap 0 are of frames before the patch set came; those do not count."""
    frames = score_frames(logs(tmp_path, frozenset({(0, 4), (1, 2), (1, 3)})))
    assert frames.published == 14
    assert frames.processed == dict.fromkeys(
        ("sign_classifier", "object_detector", "lane_segmenter"), 11
    )
    assert frames.lost_during_swap == 2 * len(Task)
    assert frames.latency_ms["sign_classifier"].p95 == pytest.approx(20.0)


def test_timeline_breaks_where_the_model_changes(tmp_path: Path) -> None:
    sorted_logs = logs(tmp_path)
    scorer = Scorer(sorted_logs, truth(), CLASSES)
    timeline = draw_timeline(
        sorted_logs,
        scorer,
        Task,
        {Task.CLASSIFICATION: [CurvePoint(epoch=1, loss=0.5, metric=0.5)]},
    )
    assert timeline.switch == pytest.approx(0.5)
    assert timeline.detected == pytest.approx(1.25)
    segments = timeline.metrics[Task.CLASSIFICATION]
    assert [(s.split, s.patched, s.values) for s in segments] == [
        (Split.SOURCE, False, [100.0]),
        (Split.TEST, False, [25.0]),
        (Split.TEST, True, [75.0]),
    ]


def test_a_line_that_is_half_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / CAMERA_LOG
    reader = LineReader(path, CameraLine)
    assert reader.new_lines() == []
    writer = LineWriter(path)
    first, second = camera()[:2]
    writer.write(first)
    half = second.model_dump_json() + "\n"
    with path.open("a") as file:
        file.write(half[:20])
    assert reader.new_lines() == [first]
    with path.open("a") as file:
        file.write(half[20:])
    assert reader.new_lines() == [second]
    writer.close()


def test_nothing_published_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="published nothing"):
        sort_logs([], [], tmp_path)
