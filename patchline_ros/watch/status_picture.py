"""The status of a car as a picture with a few lines of text, for displays that show no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import cv2
import numpy as np

from patchline_ros.graph.description import ROAD_NAME_OF_TASK
from patchline_ros.tasks import Image, Task

SIZE: Final = (640, 168)
"""Width and height in pixels."""
_PAPER: Final = (27, 34, 41)
_FIRST_LINE: Final = 34
_LINE: Final = 30


class Tone(Enum):
    """What a line is about, as its colour (RGB)."""

    PLAIN = (232, 236, 239)
    SOURCE = (100, 189, 240)
    DRIFT = (255, 154, 85)
    ADAPTED = (63, 208, 165)
    BAD = (255, 138, 128)


@dataclass(frozen=True)
class Patched:
    """Which model of a task runs. `version` 0 is the source model; `refused`: the last set was."""

    version: int
    refused: bool = False


@dataclass(frozen=True)
class CarStatus:
    """What was heard of a car; None where nothing was yet. Progress is a share, 0 to 1."""

    mmd2: float | None = None
    threshold: float = 0.0
    drifting: bool = False
    adapting: str | None = None
    progress: float = 0.0
    models: Mapping[Task, Patched] = field(default_factory=dict)


def status_lines(status: CarStatus) -> list[tuple[str, Tone]]:
    """Drift, adaptation and the models, a line each."""
    if status.mmd2 is None:
        drift = ("drift: no reading yet", Tone.BAD)
    else:
        figures = f"MMD^2 {status.mmd2:.4f}, threshold {status.threshold:.4f}"
        word, tone = ("DRIFT", Tone.DRIFT) if status.drifting else ("no drift", Tone.SOURCE)
        drift = (f"{word}: {figures}", tone)
    if status.adapting is None:
        adaptation = ("adapter: silent", Tone.BAD)
    else:
        done = f", {status.progress:.0%}" if 0 < status.progress < 1 else ""
        adaptation = (f"adapter: {status.adapting}{done}", Tone.PLAIN)
    return [drift, adaptation, *(_model_line(task, status.models.get(task)) for task in Task)]


def draw_status(lines: Sequence[tuple[str, Tone]]) -> Image:
    """The lines as a picture, RGB (168, 640, 3)."""
    width, height = SIZE
    picture = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    for number, (text, tone) in enumerate(lines):
        corner = (14, _FIRST_LINE + number * _LINE)
        cv2.putText(
            picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.7, tone.value, 1, cv2.LINE_AA
        )
    return picture


def _model_line(task: Task, model: Patched | None) -> tuple[str, Tone]:
    name = ROAD_NAME_OF_TASK[task]
    if model is None:
        return f"{name}: node silent", Tone.BAD
    runs = f"patch set {model.version}" if model.version else "source model"
    if model.refused:
        return f"{name}: {runs}, a patch set was refused", Tone.BAD
    return f"{name}: {runs}", Tone.ADAPTED if model.version else Tone.SOURCE
