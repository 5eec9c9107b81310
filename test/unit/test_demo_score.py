"""The score of a demo, from logs written by hand whose figures are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from patchline_ros.adaptation.episode_report import CurvePoint, EpisodeReport
from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.demo.episodes import Episodes
from patchline_ros.demo.logs import SECOND, Logs, ended_episodes, sort_logs
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
    Scorer,
    draw_timeline,
    score_answer,
    score_drift,
    score_frames,
)
from patchline_ros.demo.second_look import Said
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


def said(index: int, patched: bool) -> dict[Task, Label]:
    """What a model says of a frame.

    All right in clear weather; at night signs are right once in four, with patches thrice.
    """
    good = index in SOURCE or patched
    return {
        Task.CLASSIFICATION: int(index in (*SOURCE, 2) or (patched and index < 5)),
        Task.DETECTION: Boxes.truth([BOX if good else [40.0, 40.0, 50.0, 50.0]], [0]),
        Task.SEGMENTATION: np.array([[0, 0], [1, 1]] if good else [[0, 0], [0, 0]], dtype=np.uint8),
    }


def asked_again(*answered: Task) -> Said:
    """What the source models say of the test frames, and patches without labels: the same."""
    return {
        "before": {
            task: {f"frame-{index}": said(index, False)[task] for index in TESTS} for task in Task
        },
        "answered": {
            task: {f"frame-{index}": said(index, index < 4)[task] for index in TESTS}
            for task in answered
        },
    }


def results(folder: Path, unanswered: frozenset[tuple[int, int]] = frozenset()) -> list[Record]:
    """The source models in lap 0, patches in lap 1."""
    found = []
    for line in camera():
        if (line.lap, line.index) in unanswered:
            continue
        patched = line.lap == 1
        now = said(line.index, patched)
        cv2.imwrite(str(folder / f"{line.stamp_ns}.png"), now[Task.SEGMENTATION])
        payloads = {
            Task.CLASSIFICATION: {"label": now[Task.CLASSIFICATION], "score": 0.9},
            Task.DETECTION: {
                "boxes": now[Task.DETECTION].boxes.tolist(),
                "labels": [0],
                "scores": [0.9],
            },
            Task.SEGMENTATION: {"mask": f"{line.stamp_ns}.png"},
        }
        for task, payload in payloads.items():
            for kind, told in (
                (Kind.RESULT, payload),
                (Kind.FEATURES, {"entropy": 0.1, "patch_version": int(patched)}),
            ):
                found.append(
                    Record(
                        kind=kind,
                        task=task,
                        stamp_ns=line.stamp_ns,
                        received_ns=line.stamp_ns + 20_000_000,
                        payload=told,
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


def scorer_of(sorted_logs: Logs, episodes: Episodes | None = None, *answered: Task) -> Scorer:
    return Scorer(sorted_logs, episodes or Episodes(), truth(), asked_again(*answered), CLASSES)


def test_metrics_are_those_of_the_records(tmp_path: Path) -> None:
    scorer = scorer_of(logs(tmp_path))
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
    row = scorer_of(logs(tmp_path, frozenset({(1, 2)}))).task(Task.CLASSIFICATION)
    assert row.test_frames == 3
    assert (row.before, row.after) == (0.0, pytest.approx(200 / 3))


def test_without_a_swap_later_laps_are_what_came_after(tmp_path: Path) -> None:
    records = [
        record.model_copy(update={"payload": {**record.payload, "patch_version": 0}})
        if record.kind is Kind.FEATURES
        else record
        for record in results(tmp_path)
    ]
    row = scorer_of(sort_logs(camera(), records, tmp_path)).task(Task.CLASSIFICATION)
    assert (row.before, row.after, row.swapped) == (25.0, 75.0, False)


def test_drift_is_counted_in_frames_from_the_change(tmp_path: Path) -> None:
    drift = score_drift(logs(tmp_path))
    assert drift.frames_to_detect == 4
    assert drift.false_alarms == 0
    assert drift.threshold == 0.2
    assert drift.mmd2_source == pytest.approx(0.01)
    assert drift.mmd2_drift == pytest.approx(0.5)


def test_lost_frames_are_those_around_a_swap(tmp_path: Path) -> None:
    frames = score_frames(logs(tmp_path, frozenset({(1, 2), (1, 3)})))
    assert frames.published == 14
    assert frames.processed == dict.fromkeys(
        ("sign_classifier", "object_detector", "lane_segmenter"), 12
    )
    assert (frames.lost_during_swap, frames.skipped_during_swap) == (2 * len(Task), 0)
    assert frames.latency_ms["sign_classifier"].p95 == pytest.approx(20.0)


def test_what_is_skipped_all_the_time_is_not_lost_to_a_swap(tmp_path: Path) -> None:
    """14 frames were called lost on a computer that was busy before the swap as well."""
    frames = score_frames(logs(tmp_path, frozenset({(0, 1), (0, 3), (0, 5), (1, 2), (1, 3)})))
    assert (frames.lost_during_swap, frames.skipped_during_swap) == (0, 2 * len(Task))


def test_timeline_breaks_where_the_model_changes(tmp_path: Path) -> None:
    sorted_logs = logs(tmp_path)
    curves = {Task.CLASSIFICATION: [CurvePoint(epoch=1, loss=0.5, metric=0.5)]}
    training = EpisodeReport(since_ns=1, accepted={}, curves=curves)
    timeline = draw_timeline(sorted_logs, Episodes(training=training), scorer_of(sorted_logs), Task)
    assert timeline.curves == curves
    assert timeline.switch == pytest.approx(0.5)
    assert timeline.detected == pytest.approx(1.25)
    segments = timeline.metrics[Task.CLASSIFICATION]
    assert [(s.stage, s.values) for s in segments] == [
        ("source", [100.0]),
        ("before", [25.0]),
        ("after", [75.0]),
    ]


def answer_status(accepted: bool) -> Record:
    """The end of an answer without labels to the change, one task's."""
    report = EpisodeReport(
        basis="prediction",
        since_ns=1,
        until_ns=5 * STEP,
        predicted={Task.CLASSIFICATION: PredictedGain(gain=0.3, error=0.1)},
        candidates={Task.CLASSIFICATION: "prepared"},
        accepted={Task.CLASSIFICATION: accepted},
    )
    return Record(
        kind=Kind.ADAPTATION,
        stamp_ns=7 * STEP,
        received_ns=7 * STEP,
        payload={"state": "collecting", "episode_json": report.as_json()},
    )


def test_an_answer_without_labels_is_a_stage_of_its_own(tmp_path: Path) -> None:
    """Here it is the last one, too: what the graph published with it is what runs after."""
    records = [*results(tmp_path), *statuses(), answer_status(accepted=True)]
    sorted_logs = sort_logs(camera(), records, tmp_path)
    episodes = ended_episodes(sorted_logs)
    assert episodes.versions == {Task.CLASSIFICATION: 1}
    scorer = scorer_of(sorted_logs, episodes, Task.CLASSIFICATION)
    rows = {task: scorer.task(task) for task in Task}
    signs = rows[Task.CLASSIFICATION]
    assert (signs.before, signs.answered, signs.after) == (25.0, 50.0, 75.0)
    assert rows[Task.DETECTION].answered is None
    answer = score_answer(sorted_logs, episodes, rows)
    assert answer is not None
    # Noticed with the sixth frame, swapped in between the eighth and the ninth.
    assert answer.seconds_to_swap == pytest.approx(2.5 * STEP / SECOND)
    [only] = answer.tasks.values()
    assert (only.predicted, only.error, only.gain) == (pytest.approx(30), pytest.approx(10), 25.0)
    assert only.candidate == "prepared"
    timeline = draw_timeline(sorted_logs, episodes, scorer, Task)
    assert [swap.stage for swap in timeline.swaps[Task.CLASSIFICATION]] == ["answered"]
    assert [swap.stage for swap in timeline.swaps[Task.DETECTION]] == ["after"]
    assert timeline.metrics[Task.CLASSIFICATION][-1].stage == "answered"


def test_an_answer_that_its_node_takes_back_says_why(tmp_path: Path) -> None:
    taken = {"state": "removed", "version": 0, "reason": "it collapsed"}
    swap = next(record for record in statuses() if record.kind is Kind.PATCH)
    back = swap.model_copy(update={"payload": taken, "stamp_ns": swap.stamp_ns + 1})
    sorted_logs = sort_logs(camera(), [swap, back, answer_status(accepted=True)], tmp_path)
    answer = score_answer(sorted_logs, ended_episodes(sorted_logs), {})
    assert answer is not None
    assert answer.tasks[Task.CLASSIFICATION].taken_back == "it collapsed"


def test_a_refused_answer_has_no_true_gain(tmp_path: Path) -> None:
    sorted_logs = sort_logs(camera(), [answer_status(accepted=False)], tmp_path)
    episodes = ended_episodes(sorted_logs)
    answer = score_answer(sorted_logs, episodes, {})
    assert answer is not None and answer.swapped == [] and answer.seconds_to_swap is None
    assert answer.tasks[Task.CLASSIFICATION].gain is None


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
