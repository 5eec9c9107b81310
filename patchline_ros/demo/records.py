"""The two logs of a demo, written line by line while it runs and read while they grow.

`camera.jsonl` says what was published, `records.jsonl` what came back. A line ends with a newline
that is written with it, so a reader that takes only whole lines never sees half of one.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from patchline_ros.tasks import Task

CAMERA_LOG = "camera.jsonl"
RECORDS_LOG = "records.jsonl"
MASKS = "masks"


class Split(str, Enum):
    """What a frame of the drive is for."""

    SOURCE = "source"
    """The conditions that the models know."""
    ADAPT = "adapt"
    """A frame after the change whose labels are published once, for the adapter."""
    TEST = "test"
    """A frame after the change whose labels are never published; only the score sees them."""


class Kind(str, Enum):
    """What a record tells."""

    READY = "ready"
    RESULT = "result"
    FEATURES = "features"
    DRIFT = "drift"
    PATCH = "patch"
    ADAPTATION = "adaptation"


class CameraLine(BaseModel):
    """One published frame. `stamp_ns` is the header stamp of its pictures.

    index: which shot of the drive. names: what each task saw; a frame without a sign picture has
    none for signs. lap: 0 the first time the road is driven. labelled: labels that went out.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    stamp_ns: int
    names: dict[Task, str]
    lap: int
    condition: str
    split: Split
    labelled: list[Task]


class Record(BaseModel):
    """One received message.

    task: whose message it is, None where it concerns the whole car. stamp_ns: the header stamp,
    which for results is that of the picture; received_ns: when it arrived, same clock.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    task: Task | None = None
    stamp_ns: int
    received_ns: int
    payload: dict[str, Any] = Field(default_factory=dict)


LineT = TypeVar("LineT", CameraLine, Record)


class LineWriter:
    """Appends lines to a log; each line is handed to the system before `write` returns."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; OSError when that is not possible."""
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: CameraLine | Record) -> None:
        """Append one line."""
        self._file.write(line.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the log; no line can be written after this."""
        self._file.close()


class LineReader(Generic[LineT]):
    """Follows a log that another process writes."""

    def __init__(self, path: Path, line_type: type[LineT]) -> None:
        """Follow `path`, which need not exist yet."""
        self._path = path
        self._line_type: type[LineT] = line_type
        self._offset = 0

    def new_lines(self) -> list[LineT]:
        """The whole lines written since the last call, in order."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [self._line_type.model_validate_json(line) for line in data[:end].splitlines()]
