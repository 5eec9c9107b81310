"""The strip of pictures in the report: clear, changed, and changed with patches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patchline_ros.demo.drive import Shot
from patchline_ros.demo.score import Scorer
from patchline_ros.pages.page import to_data_uri
from patchline_ros.tasks import Boxes, Image, Label, Task
from patchline_ros.vision.drawing import draw_boxes, overlay_mask

SIGN_SIDE = 240
RIGHT, WRONG = (0, 158, 115), (213, 94, 0)


@dataclass(frozen=True)
class Picture:
    """One picture with an answer on it. `address` is a `data:` address, `words` its caption."""

    address: str
    words: str


@dataclass(frozen=True)
class Row:
    """One task: the answers on the clear frame, before and after; None where there was none."""

    task: Task
    pictures: tuple[Picture | None, Picture | None, Picture | None]


def make_strip(
    scorer: Scorer, clear: Shot, tests: Sequence[Shot], classes: Mapping[Task, tuple[str, ...]]
) -> list[Row]:
    """A row for each task that has a picture in these shots."""
    answers = {task: scorer.examples(task) for task in classes}
    changed = best_shown(tests, {task: after for task, (_, _, after) in answers.items()})
    rows = []
    for task in (Task.SEGMENTATION, Task.DETECTION, Task.CLASSIFICATION):
        if task not in changed.frame.samples:
            continue
        shots = (clear, changed, changed)
        pictures = [
            _picture(shot, task, found.get(shot.names.get(task, "")), classes[task])
            for shot, found in zip(shots, answers[task], strict=True)
        ]
        rows.append(Row(task, (pictures[0], pictures[1], pictures[2])))
    return rows


def best_shown(tests: Sequence[Shot], answered: Mapping[Task, Collection[str]]) -> Shot:
    """Of the test frames the one that most tasks answered; of several the middle one.

    Args:
        tests: in the order of the drive.
        answered: the names of the pictures that each task answered.
    """

    def rank(place: int) -> tuple[int, int]:
        names = tests[place].names
        found = sum(names.get(task, "") in pictures for task, pictures in answered.items())
        return -found, abs(place - len(tests) // 2)

    return tests[min(range(len(tests)), key=rank)]


def _picture(
    shot: Shot, task: Task, label: Label | None, classes: tuple[str, ...]
) -> Picture | None:
    if label is None or task not in shot.frame.samples:
        return None
    sample = shot.frame.samples[task]
    drawn: Image
    if isinstance(label, Boxes):
        drawn = draw_boxes(sample.image, label, classes)
        words = ""
    elif isinstance(label, int):
        right = label == sample.label
        drawn = draw_sign_tile(sample.image, right, SIGN_SIDE)
        words = f"{classes[label]}, {'right' if right else 'wrong'}"
        if not right and isinstance(sample.label, int):
            words += f" ({classes[sample.label]})"
    else:
        drawn = overlay_mask(sample.image, label)
        words = ""
    return Picture(to_data_uri(drawn), words.replace("_", " "))


def draw_sign_tile(image: Image, right: bool, side: int) -> Image:
    """The sign picture scaled to a square, framed green when the answer is right, else red."""
    drawn = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    cv2.rectangle(drawn, (0, 0), (side - 1, side - 1), RIGHT if right else WRONG, 10)
    return drawn
