"""The pictures that wait for a person, their order and bounds, and the labels that come back."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tiny_bundle import CLASSES, picture

from patchline_ros.messages.label_check import LabelError
from patchline_ros.messages.labels import ConversionError
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.tasks import IGNORE, Boxes, Label, Task
from patchline_ros.watch.answered_pictures import AnsweredPictures
from patchline_ros.watch.candidates import Candidate, CandidateQueue, Uncertain, in_order
from patchline_ros.watch.label_desk import LabelDesk, NotHeardError, UnknownFrameError
from patchline_ros.watch.label_json import label_as_json, read_label
from patchline_ros.watch.label_need import AdapterWord, DriftWord, LabelNeed

SECOND = 1_000_000_000


def signs(second: float, entropy: float, side: int = 8) -> Candidate:
    stamp = round(second * SECOND)
    image = picture(int(second), side, side)
    return Candidate(stamp, entropy, Task.CLASSIFICATION, "camera", image, 1, 0.5)


def filled(*found: Candidate, **bounds: int) -> CandidateQueue:
    queue = CandidateQueue(**bounds)
    for candidate in found:
        if queue.wants(candidate):
            queue.add(candidate)
    return queue


def seconds(queue: CandidateQueue) -> list[float]:
    return [candidate.stamp_ns / SECOND for candidate in queue.ordered()]


def test_the_most_uncertain_comes_first_and_the_next_is_another_moment() -> None:
    found = [Uncertain(s * SECOND, e) for s, e in ((10, 1.0), (12, 0.95), (60, 0.6), (90, 0.1))]
    # 12 s is nearly as uncertain as 10 s, but 2 s away: 0.95 * (1 - exp(-2 / 5)) = 0.31.
    assert [item.stamp_ns // SECOND for item in in_order(found, ())] == [10, 60, 12, 90]
    # What was labelled already counts like what stands before.
    assert in_order(found, [11 * SECOND])[0].stamp_ns == 60 * SECOND
    certain = [Uncertain(s * SECOND, 0.0) for s in (1, 2, 30)]
    assert [item.stamp_ns // SECOND for item in in_order(certain, ())] == [1, 30, 2]


def test_of_near_copies_the_most_uncertain_waits_unless_a_person_looks_at_one() -> None:
    queue = filled(signs(10, 0.5), signs(10.4, 0.4), signs(10.8, 0.9))
    assert seconds(queue) == [10.8]
    queue.show(queue.ordered()[0])
    assert not queue.wants(Uncertain(11 * SECOND, 2.0))
    assert queue.finish(queue.ordered()[0])
    assert not queue.wants(Uncertain(11 * SECOND, 2.0)), "a near copy of what is labelled"
    assert queue.wants(Uncertain(12 * SECOND, 0.1))
    assert not queue.wants(Uncertain(20 * SECOND, float("nan")))


def test_the_queue_is_bounded_in_number_and_in_bytes_and_keeps_what_is_shown() -> None:
    queue = filled(*(signs(10 * s, s / 10) for s in range(1, 5)), capacity=4)
    queue.show(queue.ordered()[-1])
    assert not queue.wants(Uncertain(50 * SECOND, 0.15)), "less uncertain than all but the shown"
    for second in (50, 60):
        queue.add(signs(second, 0.5))
    assert sorted(seconds(queue)) == [10, 40, 50, 60]
    size = 8 * 8 * 3
    small = filled(*(signs(10 * s, 1.0 + s) for s in range(1, 5)), largest=2 * size)
    assert sorted(seconds(small)) == [30, 40]


def test_a_drift_or_another_model_makes_earlier_pictures_useless() -> None:
    queue = filled(signs(10, 0.9), signs(20, 0.5))
    queue.begin(15 * SECOND)
    assert seconds(queue) == [20]
    assert not queue.wants(Uncertain(14 * SECOND, 3.0))
    queue.add(signs(30, 0.5))
    queue.show(next(c for c in queue.ordered() if c.stamp_ns == 20 * SECOND))
    queue.runs(version=3)
    assert seconds(queue) == [20], "a person still looks at it"


def test_what_belongs_to_a_picture_is_found_in_whatever_order_it_comes() -> None:
    stream = AnsweredPictures(held=2)
    assert stream.add(1, "answer", "a") is None
    assert stream.add(2, "picture", "p") is None
    assert stream.add(1, "entropy", 0.0) is None
    whole = stream.add(1, "picture", "q")
    assert whole is not None
    assert (whole.picture, whole.answer, whole.entropy, stream.whole) == ("q", "a", 0.0, 1)
    for stamp in (3, 4):
        stream.add(stamp, "picture", "r")
    stream.add(2, "answer", "a")
    assert stream.add(2, "entropy", 1.0) is None, "its picture had to go"


IMAGE = picture(1, 6, 8)


def test_labels_come_back_as_they_were_proposed() -> None:
    mask = np.random.default_rng(1).integers(0, 3, (6, 8)).astype(np.uint8)
    mask[:2] = IGNORE
    boxes = Boxes(
        np.array([[1.25, 2, 7.5, 6], [0, 0, 3, 3]], np.float32),
        np.array([1, 0]),
        np.array([0.5, 0.49], np.float32),
    )
    labels: dict[Task, Label] = {
        Task.CLASSIFICATION: 2, Task.DETECTION: boxes, Task.SEGMENTATION: mask,
    }  # fmt: skip
    read: dict[Task, Any] = {
        task: read_label(
            task, json.dumps(label_as_json(label)).encode(), list(CLASSES[task]), IMAGE
        )
        for task, label in labels.items()
    }
    assert read[Task.CLASSIFICATION] == 2
    np.testing.assert_array_equal(read[Task.SEGMENTATION], mask)
    assert read[Task.SEGMENTATION].dtype == np.uint8
    sure = read[Task.DETECTION]
    np.testing.assert_array_equal(sure.boxes, boxes.boxes[:1])
    assert (sure.labels.tolist(), sure.scores.tolist()) == ([1], [1.0])


BOX = '{"class_id": 0, "x1": 1, "y1": 1, "x2": %s, "y2": 5}'
BAD: list[tuple[Task, str, str]] = [
    (Task.CLASSIFICATION, "", "the label: something in it can't be used"),
    (Task.CLASSIFICATION, "[" * 100_000, "the label: something in it can't be used"),
    (Task.CLASSIFICATION, "7", "the label: 7 is not allowed: it should be a mapping"),
    (Task.CLASSIFICATION, '{"class_id": "1"}', 'class_id: "1" is not allowed'),
    (Task.CLASSIFICATION, '{"class_id": 3}', "class id 3 is not one of the model's 3 classes"),
    (Task.CLASSIFICATION, '{"class_id": -1}', "class_id: -1 is not allowed"),
    (Task.CLASSIFICATION, '{"class": 1}', "class: there is no such key"),
    (Task.DETECTION, '{"boxes": [%s]}' % (BOX % "NaN"), "boxes"),
    (Task.DETECTION, '{"boxes": [%s]}' % (BOX % "1e300"), "not a finite number"),
    (Task.DETECTION, '{"boxes": [%s]}' % (BOX % "1"), "no width or no height"),
    (Task.DETECTION, '{"boxes": [%s]}' % (BOX % "80"), "leaves its picture of 8 x 6 pixels"),
    (Task.SEGMENTATION, '{"runs": [0]}', "runs must be pairs"),
    (Task.SEGMENTATION, '{"runs": [0, 47]}', "the class map has 47 pixels, its picture of 8 x 6"),
    (Task.SEGMENTATION, '{"runs": [0, 2000000000]}', "the class map has 2000000000 pixels"),
    (Task.SEGMENTATION, '{"runs": [256, 48]}', "the class 256; a class map holds 0 to 255"),
    (Task.SEGMENTATION, '{"runs": [7, 48]}', "class id 7 is not one of the model's 3 classes"),
]


@pytest.mark.parametrize(("task", "sent", "said"), BAD)
def test_what_is_no_label_is_refused_in_one_sentence(task: Task, sent: str, said: str) -> None:
    with pytest.raises((LabelError, ConversionError)) as refused:
        read_label(task, sent.encode(), list(CLASSES[task]), IMAGE)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@dataclass
class Outlet:
    """Where labels go in a test. `heard`: whether they are acknowledged."""

    heard: bool = True
    sent: list[tuple[str, Label]] = field(default_factory=list)

    def publish(self, candidate: Candidate, label: Label) -> None:
        self.sent.append((candidate.name, label))

    def is_heard(self, seconds: float) -> bool:
        return self.heard


def desk_with(outlet: Outlet, *found: Candidate) -> LabelDesk:
    desk = LabelDesk(outlet)
    desk.knows(Task.CLASSIFICATION, CLASSES[Task.CLASSIFICATION])
    for candidate in found:
        desk.add(candidate)
    return desk


def test_a_label_counts_once_it_is_heard_and_the_answer_says_what_the_adapter_has() -> None:
    outlet = Outlet(heard=False)
    desk = desk_with(outlet, signs(10, 0.5), signs(20, 0.9))
    name = desk.overview()["tasks"]["classification"]["frames"][0]
    assert name == f"classification-{20 * SECOND}"
    with pytest.raises(NotHeardError, match="nobody has acknowledged it; try again"):
        desk.take(name, b'{"class_id": 0}')
    assert desk.overview()["tasks"]["classification"]["sent"] == 0

    desk.heard_drift(DriftWord(True, 5 * SECOND, 3.0))
    desk.heard_adapter(AdapterWord(LoopState.COLLECTING, 6))
    counted = AdapterWord(LoopState.COLLECTING, 7)
    threading.Timer(0.1, desk.heard_adapter, [counted]).start()
    begun = time.monotonic()
    answer = desk.take(name, b'{"class_id": 0}')
    assert time.monotonic() - begun < 1.0
    assert (answer["collected"], answer["tasks"]["classification"]["sent"]) == (7, 1)
    with pytest.raises(UnknownFrameError, match="labelled already"):
        desk.take(name, b'{"class_id": 0}')
    assert outlet.sent == [(name, 0), (name, 0)]
    desk.skip(f"classification-{10 * SECOND}")
    assert desk.overview()["tasks"]["classification"]["frames"] == []
    assert len(outlet.sent) == 2
    desk.heard_drift(DriftWord(True, 60 * SECOND, 3.0))
    assert desk.overview()["tasks"]["classification"]["sent"] == 0, "it was for another drift"


DRIFT = DriftWord(drifting=True, since_ns=SECOND, times=3.0)
COLLECTS = AdapterWord(LoopState.COLLECTING, 1)


@pytest.mark.parametrize(
    ("need", "word", "said"),
    [
        (LabelNeed(), "No adapter", "a label would reach nobody"),
        (LabelNeed(DRIFT, COLLECTS, 24, unused=True), "Not needed", "labels: none"),
        (LabelNeed(None, COLLECTS), "No drift reading", "said nothing yet"),
        (LabelNeed(DriftWord(False, 0, 0.3), COLLECTS), "No drift", "since a drift began"),
        (
            LabelNeed(DRIFT, COLLECTS, 24),
            "Labels are needed",
            "1 labelled frame so far. A training begins once each task with labels has 24.",
        ),
        (LabelNeed(DRIFT, AdapterWord(LoopState.TRAINING, 9)), "Adapting", "comes too late"),
        (LabelNeed(DRIFT, AdapterWord(LoopState.ANSWERING, 9)), "Adapting", "training after it"),
        (
            LabelNeed(DRIFT, AdapterWord(LoopState.FAILED, 9, "no memory")),
            "The training failed",
            "no memory. Labels help the next one.",
        ),
        (LabelNeed(DRIFT, AdapterWord(LoopState.FINISHED, 9)), "Adapted", "kept for the next"),
        (LabelNeed(DRIFT, AdapterWord(LoopState.IDLE, 0)), "Not needed now", "collects no labels"),
    ],
)
def test_a_person_is_told_whether_labels_are_needed(need: LabelNeed, word: str, said: str) -> None:
    _, heading, words = need.sentence()
    assert heading == word
    assert said in words
