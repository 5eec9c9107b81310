"""Labels as the page has them: JSON, with class maps as runs of equal pixels."""

from __future__ import annotations

from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, ValidationError

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.messages.label_check import LabelError, check_label
from patchline_ros.messages.labels import check_inside
from patchline_ros.tasks import Boxes, ClassMap, Image, Label, Sample, Task

SURE: Final = 0.5
"""Score from which on a box is proposed: it is what the overlay shows, too."""
_LARGEST: Final = 2**31 - 1
_ClassId = Annotated[int, Field(ge=0, le=_LARGEST)]
_Pixels = Annotated[float, Field(allow_inf_nan=False)]


class _SentClass(StrictModel):
    class_id: _ClassId

    def label(self, picture: Image) -> Label:
        return self.class_id


class _SentBox(StrictModel):
    class_id: _ClassId
    x1: _Pixels
    y1: _Pixels
    x2: _Pixels
    y2: _Pixels


class _SentBoxes(StrictModel):
    boxes: Annotated[list[_SentBox], Field(max_length=1000)]

    def label(self, picture: Image) -> Label:
        corners = [(box.x1, box.y1, box.x2, box.y2) for box in self.boxes]
        with np.errstate(over="ignore"):  # Infinite then, which is refused.
            return Boxes.truth(corners, [box.class_id for box in self.boxes])


class _SentClassMap(StrictModel):
    runs: list[Annotated[int, Field(ge=0, le=_LARGEST)]]

    def label(self, picture: Image) -> Label:
        return from_runs(self.runs, picture.shape[0], picture.shape[1])


_SENT: Final[dict[Task, type[_SentClass | _SentBoxes | _SentClassMap]]] = {
    Task.CLASSIFICATION: _SentClass,
    Task.DETECTION: _SentBoxes,
    Task.SEGMENTATION: _SentClassMap,
}


def label_as_json(label: Label) -> dict[str, Any]:
    """A model's answer as the page proposes it; boxes that it is not sure of are left out."""
    if isinstance(label, Boxes):
        sure = label.scores >= SURE
        return {
            "boxes": [
                dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True), class_id=class_id)
                for corners, class_id in zip(
                    label.boxes[sure].tolist(), label.labels[sure].tolist(), strict=True
                )
            ]
        }
    if isinstance(label, np.ndarray):
        return {"runs": runs_of(label)}
    return {"class_id": int(label)}


def read_label(task: Task, sent: bytes, classes: list[str], picture: Image) -> Label:
    """The label of a picture that a person has sent.

    Args:
        task: whose label it is.
        sent: JSON, of the keys that `label_as_json` gives.
        classes: the model's class names.
        picture: uint8 RGB (H, W, 3).

    Raises:
        LabelError, ConversionError: in one sentence, what is wrong with it.
    """
    kind = _SENT[task]
    try:
        label = kind.model_validate_json(sent, strict=True).label(picture)
    except ValidationError as error:
        raise LabelError(first_mistake(error, kind, "the label")) from error
    check_label(task, classes, Sample(picture, label))
    if isinstance(label, Boxes):
        check_inside(label, picture.shape[1], picture.shape[0])
    return label


def runs_of(mask: ClassMap) -> list[int]:
    """Class, pixels, class, pixels, ... from the upper left corner, row after row."""
    values = mask.ravel()
    starts = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], starts])
    lengths = np.diff(np.concatenate([starts, [values.size]]))
    return np.stack([values[starts], lengths], axis=1).ravel().tolist()


def from_runs(runs: list[int], height: int, width: int) -> ClassMap:
    """The class map (height, width) of its runs. Raises LabelError where it is none."""
    if len(runs) % 2:
        raise LabelError("runs must be pairs: a class, and for how many pixels it goes on")
    values, lengths = runs[::2], runs[1::2]
    if any(value > np.iinfo(np.uint8).max for value in values):
        raise LabelError(f"the class map has the class {max(values)}; a class map holds 0 to 255")
    if sum(lengths) != height * width:
        raise LabelError(
            f"the class map has {sum(lengths)} pixels, its picture of {width} x {height} has "
            f"{height * width}"
        )
    return np.repeat(np.array(values, dtype=np.uint8), lengths).reshape(height, width)
