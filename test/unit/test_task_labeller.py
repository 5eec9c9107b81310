"""What of other detectors' answers becomes a label, and why the rest does not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from patchline_ros.labelling.foreign_labels import Certainty
from patchline_ros.labelling.task_labeller import LabellerSettings, TaskLabeller
from patchline_ros.tasks import Boxes, Sample, Task

SECOND = 1_000_000_000
PICTURE = np.zeros((20, 40, 3), np.uint8)
CLASSES = {
    Task.CLASSIFICATION: ("stop", "yield"),
    Task.DETECTION: ("car", "person"),
    Task.SEGMENTATION: ("sky", "road"),
}
SURE = Certainty(min_score=0.5, doubtful_score=0.25, label_empty_frames=False)


class Labels:
    """A labeller of one task, and what it said."""

    def __init__(self, task: Task, certainty: Certainty = SURE) -> None:
        settings = LabellerSettings(certainty, slop_ns=0, held=8, period_ns=SECOND)
        self.published: list[tuple[int, Sample]] = []
        self.refused: list[str] = []
        self.labeller = TaskLabeller(
            task,
            CLASSES[task],
            settings,
            decode=lambda picture: picture,
            publish=lambda stamp, _picture, sample: self.published.append((stamp, sample)),
            refuse=self.refused.append,
        )

    def see(self, msg: Any, stamp: int = SECOND) -> Any:
        """The label that comes of a message; None for none."""
        before = len(self.published)
        self.labeller.take_picture(stamp, PICTURE)
        self.labeller.take_label(stamp, msg)
        return self.published[-1][1].label if len(self.published) > before else None


def hypothesis(name: str, score: float) -> SimpleNamespace:
    return SimpleNamespace(class_id=name, score=score)


def detection(name: str, score: float, *others: SimpleNamespace, x: float = 10) -> SimpleNamespace:
    """A box of 8 x 4 pixels around (x, 10)."""
    center = SimpleNamespace(position=SimpleNamespace(x=x, y=10.0))
    results = [SimpleNamespace(hypothesis=one) for one in (hypothesis(name, score), *others)]
    box = SimpleNamespace(center=center, size_x=8.0, size_y=4.0)
    return SimpleNamespace(bbox=box, results=results)


def found(*detections: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(detections=list(detections))


def mask(ids: np.ndarray) -> SimpleNamespace:
    height, width = ids.shape
    return SimpleNamespace(
        encoding="mono8",
        height=height,
        width=width,
        step=width,
        is_bigendian=0,
        data=ids.astype(np.uint8).tobytes(),
    )


def test_sure_boxes_are_labels_by_id_or_by_name_and_noise_is_left_out() -> None:
    labels = Labels(Task.DETECTION)
    label = labels.see(
        found(
            detection("1", 0.5),
            detection("car", 0.9, x=30),
            detection("person", 0.3, hypothesis("car", 0.6)),
            detection("no class of ours", 0.2),
        )
    )
    assert isinstance(label, Boxes)
    np.testing.assert_array_equal(label.boxes[:2], [[6, 8, 14, 12], [26, 8, 34, 12]])
    assert label.labels.tolist() == [1, 0, 0]
    assert label.scores.tolist() == [1, 1, 1]


@pytest.mark.parametrize("label_empty_frames", [False, True])
def test_a_picture_with_a_doubtful_box_is_left_out(label_empty_frames: bool) -> None:
    labels = Labels(Task.DETECTION, Certainty(0.5, 0.25, label_empty_frames))
    assert labels.see(found(detection("car", 0.49))) is None
    assert labels.see(found(detection("car", 0.9), detection("car", 0.25))) is None
    assert labels.labeller.counts()["below_threshold"] == 2


def test_an_empty_picture_is_a_label_where_the_detector_says_so() -> None:
    assert len(Labels(Task.DETECTION).see(found())) == 0
    noise = found(detection("car", 0.1))
    assert Labels(Task.DETECTION).see(noise) is None
    assert len(Labels(Task.DETECTION, Certainty(0.5, 0.25, True)).see(noise)) == 0


def test_the_most_probable_class_is_the_label() -> None:
    labels = Labels(Task.CLASSIFICATION)
    sure = SimpleNamespace(results=[hypothesis("stop", 0.3), hypothesis("yield", 0.7)])
    assert labels.see(sure) == 1
    unsure = SimpleNamespace(results=[hypothesis("stop", 0.4), hypothesis("yield", 0.45)])
    assert labels.see(unsure, 3 * SECOND) is None
    assert labels.labeller.counts()["below_threshold"] == 1


def test_a_mask_is_a_label_with_what_it_ignores() -> None:
    ids = np.where(np.arange(20 * 40).reshape(20, 40) % 3, 1, 255)
    np.testing.assert_array_equal(Labels(Task.SEGMENTATION).see(mask(ids)), ids)


def spoilt_box(spoil: Callable[[Any], None]) -> SimpleNamespace:
    made = detection("car", 0.9)
    spoil(made)
    return found(made)


@pytest.mark.parametrize(
    ("task", "msg", "says"),
    [
        (
            Task.DETECTION,
            found(detection("dog", 0.9)),
            "the class id is 'dog'; it must be one of the model's (car, person)",
        ),
        (Task.DETECTION, found(detection("2", 0.9)), "class id 2 is not one of the model's 2"),
        (Task.DETECTION, found(detection("9" * 30, 0.9)), "too large a number"),
        (Task.DETECTION, found(detection("car", 0.9, x=1000)), "leaves its picture of 40 x 20"),
        (Task.DETECTION, found(detection("car", 0.9, x=np.nan)), "sizes must be finite"),
        (Task.DETECTION, found(detection("car", np.nan)), "detection 0 has a score that is not"),
        (
            Task.DETECTION,
            spoilt_box(lambda made: made.results.clear()),
            "detection 0 has no class",
        ),
        (
            Task.DETECTION,
            spoilt_box(lambda made: setattr(made.bbox, "size_x", 0.0)),
            "no width or no height",
        ),
        (Task.SEGMENTATION, mask(np.zeros((20, 39))), "has the shape (20, 39), its picture has"),
        (Task.SEGMENTATION, mask(np.full((20, 40), 2)), "class id 2 is not one of the model's 2"),
        (Task.CLASSIFICATION, SimpleNamespace(results=[]), "the classification has no class"),
        (
            Task.CLASSIFICATION,
            SimpleNamespace(results=[hypothesis("3", 1.0)]),
            "class id 3 is not one of the model's 2",
        ),
    ],
)
def test_a_bad_label_is_refused_with_its_reason_and_the_next_one_is_taken(
    task: Task, msg: Any, says: str
) -> None:
    labels = Labels(task)
    assert labels.see(msg) is None
    assert len(labels.refused) == labels.labeller.refused == 1
    assert says in labels.refused[0]
    good = {
        Task.CLASSIFICATION: SimpleNamespace(results=[hypothesis("stop", 1.0)]),
        Task.DETECTION: found(),
        Task.SEGMENTATION: mask(np.zeros((20, 40))),
    }
    assert labels.see(good[task]) is not None


def test_a_label_without_a_stamp_is_refused() -> None:
    labels = Labels(Task.DETECTION)
    assert labels.see(found(), stamp=0) is None
    assert labels.refused == ["it has no stamp, so nobody can say which picture it is about"]


def test_the_rate_is_by_stamps_and_nothing_is_published_twice() -> None:
    labels = Labels(Task.DETECTION)
    tenths = [10, 15, 19, 20, 10, 35, 30, 25]
    for tenth in tenths:
        labels.see(found(), stamp=tenth * SECOND // 10)
    assert [stamp * 10 // SECOND for stamp, _ in labels.published] == [10, 20, 35]
    assert labels.labeller.counts() == {
        "published": 3,
        "unmatched": 0,
        "below_threshold": 0,
        "refused": 0,
        "too_frequent": 5,
    }
